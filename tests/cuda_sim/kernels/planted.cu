#include "cuda_sim/kernels/planted.h"

#include "cuda/ptx.h"

namespace hg::test {
namespace {

constexpr unsigned kAll = 0xffffffff;

__device__ float warp_total(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kAll, x, lanes);
  return x;
}

__global__ void block_sums_kernel(float* out, const float* in, bool barrier) {
  HG_SHARED(float, partial, [2]);
  const unsigned i = threadIdx.x;
  const float x = in[i];
  for (int k = 0; k < 2; ++k) {
    const float total = warp_total(k == 0 ? x : x * x);
    if (i % 32 == 0) partial[i / 32] = total;
    __syncthreads();
    out[k * 64 + i] = partial[0] + partial[1];
    if (barrier) __syncthreads();
  }
}

__global__ void reverse_in_warp_kernel(float* out, const float* in, bool syncwarp) {
  HG_SHARED(float, values, [32]);
  values[threadIdx.x] = in[threadIdx.x];
  if (syncwarp) __syncwarp();
  out[threadIdx.x] = values[31 - threadIdx.x];
}

template <int pending>
__global__ void sum_tiles_kernel(float* out, const float* in, int tiles) {
  constexpr int kStages = 3, kValues = 128;
  HG_DYN_SHARED(memory);
  auto* stages = reinterpret_cast<float*>(memory);
  const auto start = [&](int tile) {
    if (tile < tiles)
      copy_async_16(stages + tile % kStages * kValues + threadIdx.x * 4,
                    in + tile * kValues + threadIdx.x * 4);
    commit_copies();
  };
  start(0);
  start(1);
  float sums[4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<pending>();
    __syncthreads();
    start(tile + 2);  // where tile - 1 was, which all have read
    for (int j = 0; j < 4; ++j) sums[j] += stages[tile % kStages * kValues + threadIdx.x * 4 + j];
  }
  for (int j = 0; j < 4; ++j) out[threadIdx.x * 4 + j] = sums[j];
}

__global__ void through_shared_kernel(float* out, int beyond, bool dynamic) {
  HG_SHARED(float, its, [32]);
  HG_DYN_SHARED(memory);
  float* values = dynamic ? reinterpret_cast<float*>(memory) : &its[0];
  const int i = static_cast<int>(threadIdx.x);
  values[i == 31 ? i + beyond : i] = static_cast<float>(i);
  __syncthreads();
  out[i] = values[i];
}

__global__ void count_blocks_kernel(float* out, bool atomic) {
  if (threadIdx.x > 0) return;
  if (atomic) {
    atomicAdd(out, 1.0F);
  } else {
    out[0] += 1;
  }
}

__global__ void multiply_kernel(float* c, const std::uint16_t* a, const std::uint16_t* b,
                                bool swap) {
  HG_SHARED(std::uint16_t, tile_a, [16][16]);
  HG_SHARED(std::uint16_t, tile_b, [16][8]);
  const unsigned lane = threadIdx.x, g = lane / 4, t = lane % 4 * 2;
  for (unsigned i = lane; i < 16 * 16; i += 32) tile_a[i / 16][i % 16] = a[i];
  for (unsigned i = lane; i < 16 * 8; i += 32) tile_b[i / 8][i % 8] = b[i];
  __syncwarp();
  std::uint32_t its_a[4], its_b[4];
  load_matrices(its_a, &tile_a[lane % 16][lane / 16 * 8]);
  load_transposed_matrices(its_b, &tile_b[lane % 16][0]);
  if (swap) {
    const std::uint32_t first = its_a[1];
    its_a[1] = its_a[2];
    its_a[2] = first;
  }
  const std::uint32_t pair[2] = {its_b[0], its_b[1]};
  float sums[4] = {};
  multiply_add(sums, its_a, pair);
  for (unsigned i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + t + i % 2] = sums[i];
}

__global__ void half_a_warp_kernel(float* c) {
  const std::uint32_t a[4] = {}, b[2] = {};
  float sums[4] = {};
  if (threadIdx.x < 16) multiply_add(sums, a, b);
  c[threadIdx.x] = sums[0];
}

__global__ void divergent_barrier_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void barrier_against_shuffle_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __shfl_sync(kAll, 1, 0);
  }
}

__global__ void lane_outside_of_its_mask_kernel() { __shfl_xor_sync(0xffff, 1, 1); }

__global__ void shuffle_against_vote_kernel() {
  if (threadIdx.x % 2 == 0) {
    __shfl_xor_sync(kAll, 1, 1);
  } else {
    __ballot_sync(kAll, 1);
  }
}

/// Something is written, somewhere else: nvcc takes what nobody writes for any value.
__global__ void uninitialised_kernel(float* out, unsigned elsewhere) {
  HG_SHARED(float, values, [64]);
  values[threadIdx.x + elsewhere] = 0;
  out[threadIdx.x] = values[threadIdx.x];
}

__global__ void warp_operations_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int* its = out + lane * 8;
  its[0] = __shfl_sync(kAll, lane, 5);
  its[1] = __shfl_up_sync(kAll, lane, 3);
  its[2] = __shfl_down_sync(kAll, lane, 3, 8);
  its[3] = __shfl_xor_sync(kAll, lane, 1);
  its[4] = static_cast<int>(__ballot_sync(kAll, lane % 3 == 0));
  its[5] = __any_sync(kAll, lane == 7) + 2 * __all_sync(kAll, lane < 31);
  its[6] = __reduce_add_sync(kAll, lane);
  if (lane >= 16) return;
  its[7] = __shfl_xor_sync(0xffff, lane, 8) + __syncthreads_count(lane < 4);  // others have exited
}

__global__ void idle_kernel() {}

}  // namespace

void block_sums(float* out, const float* in, bool barrier) {
  launch(block_sums_kernel, dim3(1), dim3(64), 0, nullptr, out, in, barrier);
}
void reverse_in_warp(float* out, const float* in, bool syncwarp) {
  launch(reverse_in_warp_kernel, dim3(1), dim3(32), 0, nullptr, out, in, syncwarp);
}
void sum_tiles(float* out, const float* in, int tiles, bool enough) {
  launch(enough ? sum_tiles_kernel<1> : sum_tiles_kernel<2>, dim3(1), dim3(32),
         3 * 128 * sizeof(float), nullptr, out, in, tiles);
}
void through_shared(float* out, int beyond, bool dynamic) {
  launch(through_shared_kernel, dim3(1), dim3(32), 32 * sizeof(float), nullptr, out, beyond,
         dynamic);
}
void count_blocks(float* out, bool atomic) {
  launch(count_blocks_kernel, dim3(4), dim3(32), 0, nullptr, out, atomic);
}
void multiply(float* c, const std::uint16_t* a, const std::uint16_t* b, bool swap) {
  launch(multiply_kernel, dim3(1), dim3(32), 0, nullptr, c, a, b, swap);
}
void multiply_by_half_a_warp(float* c) {
  launch(half_a_warp_kernel, dim3(1), dim3(32), 0, nullptr, c);
}
void divergent_barrier() { launch(divergent_barrier_kernel, dim3(1), dim3(32), 0, nullptr); }
void barrier_against_shuffle() {
  launch(barrier_against_shuffle_kernel, dim3(1), dim3(32), 0, nullptr);
}
void lane_outside_of_its_mask() {
  launch(lane_outside_of_its_mask_kernel, dim3(1), dim3(32), 0, nullptr);
}
void shuffle_against_vote() { launch(shuffle_against_vote_kernel, dim3(1), dim3(32), 0, nullptr); }
void uninitialised(float* out) {
  launch(uninitialised_kernel, dim3(1), dim3(32), 0, nullptr, out, 32);
}
void warp_operations(int* out) {
  launch(warp_operations_kernel, dim3(1), dim3(32), 0, nullptr, out);
}
void idle(unsigned blocks, unsigned threads, std::size_t shared_bytes) {
  launch(idle_kernel, dim3(blocks), dim3(threads), shared_bytes, nullptr);
}

}  // namespace hg::test
