// Moving blocks of rows between tensors and scratch: widening, padding with zeros, transposing.
// Only for files in ops/cpu/kernels.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "ops/cpu/simd.h"

namespace hg {
namespace {

/// One head's rows in a tensor [T, KV, G, D] or a slice of one: `stride` elements from token to
/// token.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;
  T* operator[](std::int64_t token) const { return data + token * stride; }
};

/// to[i, :d] = row i as the element type of `to`, zeros up to `width` and in rows up to `padded`.
template <class To, class T>
void copy_rows(To* to, std::int64_t width, Rows<const T> from, std::int64_t begin,
               std::int64_t count, std::int64_t padded, std::int64_t d) {
  for (std::int64_t i = 0; i < count; ++i, to += width) {
    const T* row = from[begin + i];
    if constexpr (std::is_same_v<To, T>) {
      std::memcpy(to, row, static_cast<std::size_t>(d) * sizeof(T));
    } else {
      for_lanes(d, [&](std::int64_t j, auto lanes) { store(to + j, load(row + j, lanes), lanes); });
    }
    std::memset(to + d, 0, static_cast<std::size_t>(width - d) * sizeof(To));
  }
  std::memset(to, 0, static_cast<std::size_t>((padded - count) * width) * sizeof(To));
}

/// One step of the transpose below: swaps the off-diagonal quarters of each 2 step x 2 step square.
template <std::size_t step, std::size_t... lane>
HG_INLINE void exchange(F32& a, F32& b, std::index_sequence<lane...>) {
  const F32 low =
      __builtin_shufflevector(a, b, ((lane & step) != 0 ? lane - step + kLanes : lane)...);
  b = __builtin_shufflevector(a, b, ((lane & step) != 0 ? lane + kLanes : lane + step)...);
  a = low;
}

template <std::size_t step = 1>
HG_INLINE void transpose_square(F32 (&rows)[kLanes]) {
  for (std::size_t i = 0; i < kLanes; ++i) {
    if ((i & step) == 0)
      exchange<step>(rows[i], rows[i + step], std::make_index_sequence<kLanes>{});
  }
  if constexpr (2 * step < kLanes) transpose_square<2 * step>(rows);
}

/// to[j, i] = from[i, j] for whole squares of lanes: both extents are rounded up. Elements are
/// moved as 32 bits: f32, or pairs of bf16.
inline void transpose(float* to, std::int64_t to_stride, const float* from,
                      std::int64_t from_stride, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t i = 0; i < rows; i += kLanes) {
    for (std::int64_t j = 0; j < columns; j += kLanes) {
      F32 square[kLanes];
#pragma GCC unroll 16
      for (std::int64_t r = 0; r < kLanes; ++r) square[r] = load(from + (i + r) * from_stride + j);
      transpose_square(square);
#pragma GCC unroll 16
      for (std::int64_t r = 0; r < kLanes; ++r) store(to + (j + r) * to_stride + i, square[r]);
    }
  }
}

}  // namespace
}  // namespace hg
