// Small kernels with and without a bug that a test plants, launched into the default stream.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hg::test {

/// out[i] = the sum of 64 values, out[64 + i] = that of their squares. Without the barrier between
/// them, the second reduction overwrites what others still read of the first.
void block_sums(float* out, const float* in, bool barrier);

/// out[i] = in[31 - i] for 32 values, through shared memory.
void reverse_in_warp(float* out, const float* in, bool syncwarp);

/// out[i] = the sum over `tiles` of in[tile][i], 32 threads of 4 values, with copies two tiles
/// ahead. It has to wait until at most one group of them is under way.
void sum_tiles(float* out, const float* in, int tiles, bool enough);

/// out[i] = i through an array of 32 values, of which thread 31 writes value 31 + `beyond`.
void through_shared(float* out, int beyond, bool dynamic);

/// out[0] += 1 from each of 4 blocks.
void count_blocks(float* out, bool atomic);

/// c [16, 8] f32 = a [16, 16] b [16, 8] of bf16, row by row; `swap` exchanges two registers of a.
void multiply(float* c, const std::uint16_t* a, const std::uint16_t* b, bool swap);
/// The same by 16 lanes, which cannot do it alone.
void multiply_by_half_a_warp(float* c);

/// multiply without shared memory; what `swapped` exchanges is in the text of an asm statement,
/// which nvcc alone sees.
void multiply_by_asm(float* c, const std::uint16_t* a, const std::uint16_t* b, bool swapped);

void divergent_barrier();
void barrier_against_shuffle();
void lane_outside_of_its_mask();
void shuffle_against_vote();
/// out[i] = shared memory that nobody wrote.
void uninitialised(float* out);
/// out[i] = results of warp operations: see the test.
void warp_operations(int* out);
/// A launch that does nothing.
void idle(unsigned blocks, unsigned threads, std::size_t shared_bytes);

}  // namespace hg::test
