// Tiles of 128 x 128 elements that a block of threads brings into FP8. Only for .cu files.
#pragma once

#include "cuda/ptx.h"
#include "ops/cuda/vectors.h"
#include "ops/fp8.h"

namespace hg {
namespace {

constexpr int kTile = static_cast<int>(kFp8Block);
constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kVector = 8;  // elements of 16 bytes
constexpr int kLines = 8;   // rows of a thread: kGroups runs of four neighbours
constexpr int kGroups = 2;
constexpr int kPitch = 33;  // words of a column of the transposed tile
using Vector = Elements<__nv_bfloat16, kVector>;

/// Magnitudes are compared as bits, in which order NaN is the largest.
HG_DEVICE std::uint32_t magnitude(float x) { return __float_as_uint(x) & 0x7fffffffU; }
HG_DEVICE std::uint32_t larger(std::uint32_t a, std::uint32_t b) { return a < b ? b : a; }

/// The largest of `width` lanes that are neighbours, in all of them.
template <int width>
HG_DEVICE std::uint32_t lanes_largest(std::uint32_t x) {
  for (int lanes = width / 2; lanes > 0; lanes /= 2)
    x = larger(x, __shfl_xor_sync(0xffffffff, x, lanes));
  return x;
}
/// The largest of the block's threads, in all of them. `partial` has an element for each warp, and
/// may be used again after the next __syncthreads.
HG_DEVICE std::uint32_t block_largest(std::uint32_t x, std::uint32_t* partial) {
  x = lanes_largest<32>(x);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
  __syncthreads();
  for (int warp = 0; warp < kWarps; ++warp) x = larger(x, partial[warp]);
  return x;
}

/// Of a magnitude as bits.
template <class Q>
HG_DEVICE float scale_of(std::uint32_t its_magnitude) {
  return fp8_scale<Q>(__uint_as_float(its_magnitude));
}

/// Where one of the two results lies; absent if its values are.
struct Result {
  std::uint8_t* values;
  float* scales;
  int scale_stride;  // floats from a row of scales to the next
};

/// What a thread has of a tile: vectors of kLines rows.
struct Part {
  Vector lines[kLines];

  HG_DEVICE float at(int line, int j) const { return lines[line][j]; }
};

/// The thread's place in a tile. 16 neighbouring lanes have a row; the rows of group g are four
/// from 4 word(g) on. So stores of words of the transposed tile meet all banks, and a warp still
/// reads whole rows.
struct Place {
  int column = static_cast<int>(threadIdx.x % 16) * kVector;
  int half = static_cast<int>(threadIdx.x / 16 % 2), warp = static_cast<int>(threadIdx.x / 32);

  HG_DEVICE int word(int group) const { return warp + kWarps * group + 16 * half; }
  HG_DEVICE int row(int line) const { return 4 * word(line / 4) + line % 4; }
};

/// Four values in FP8, the first in the lowest byte.
template <class Q>
HG_DEVICE std::uint32_t rounded(float a, float b, float c, float d) {
  return fp8_pair<Q>(a, b) | fp8_pair<Q>(c, d) << 16;
}

/// The scale of the block that the tile is. Behind the last of a row of scales are zeros, up to a
/// multiple of four.
HG_DEVICE void put_square_scale(const Result& to, float scale, unsigned row, unsigned column,
                                unsigned last) {
  const auto end = static_cast<unsigned>(column == last ? to.scale_stride : column + 1);
  if (to.values == nullptr || column + threadIdx.x >= end) return;
  to.scales[row * static_cast<unsigned>(to.scale_stride) + column + threadIdx.x] =
      threadIdx.x == 0 ? scale : 0.0F;
}

/// The tile, its rows `pitch` apart; where these have scales of their own, those, too.
template <class Q, Fp8Blocks blocks>
HG_DEVICE void store_lines(const Part& part, const Place& place, std::uint8_t* to, int pitch,
                           int rows, int columns, float scale, float* row_scales) {
  for (int line = 0; line < kLines; ++line) {
    const int row = place.row(line);
    if constexpr (blocks == Fp8Blocks::rows) {
      std::uint32_t its = 0;
      for (int j = 0; j < kVector; ++j) its = larger(its, magnitude(part.at(line, j)));
      scale = scale_of<Q>(lanes_largest<16>(its));
      if (place.column == 0 && row < rows) row_scales[row] = scale;
    }
    if (place.column >= columns || row >= rows) continue;
    const float inverse = 1 / scale;
    const auto y = [&](int j) { return part.at(line, j) * inverse; };
    *reinterpret_cast<uint2*>(to + static_cast<std::int64_t>(row) * pitch + place.column) =
        make_uint2(rounded<Q>(y(0), y(1), y(2), y(3)), rounded<Q>(y(4), y(5), y(6), y(7)));
  }
}

/// The scales of the tile's columns, for all threads in `shared`, and written to `scales`.
template <class Q>
HG_DEVICE void scale_columns(const Part& part, const Place& place, std::uint32_t* partial,
                             float* shared, float* scales, int columns) {
  for (int j = 0; j < kVector; ++j) {
    std::uint32_t its = 0;
    for (int line = 0; line < kLines; ++line) its = larger(its, magnitude(part.at(line, j)));
    its = larger(its, __shfl_xor_sync(0xffffffff, its, 16));
    if (place.half == 0) partial[place.warp * kTile + place.column + j] = its;
  }
  __syncthreads();
  const auto column = static_cast<int>(threadIdx.x);
  if (column < kTile) {
    std::uint32_t its = 0;
    for (int warp = 0; warp < kWarps; ++warp) its = larger(its, partial[warp * kTile + column]);
    shared[column] = scale_of<Q>(its);
    if (column < columns) scales[column] = shared[column];
  }
  __syncthreads();
}

/// The transposed tile from shared memory, 16 bytes of a column of x at a time. Column c is number
/// (c mod 8) 16 + c / 8 there.
HG_DEVICE void store_transposed(std::uint8_t* to, std::int64_t pitch, const std::uint32_t* tile,
                                int rows, int columns) {
  for (int pass = 0; pass < kTile * 8 / kThreads; ++pass) {
    const int number = pass * (kThreads / 8) + static_cast<int>(threadIdx.x / 8);
    const int column = number % 16 * kVector + number / 16;
    const int row = static_cast<int>(threadIdx.x % 8) * 16;
    if (column >= columns || row >= rows) continue;
    const std::uint32_t* words = tile + number * kPitch + row / 4;
    *reinterpret_cast<uint4*>(to + column * pitch + row) =
        make_uint4(words[0], words[1], words[2], words[3]);
  }
}

}  // namespace
}  // namespace hg
