// Moving blocks of rows between tensors and scratch: widening, padding with zeros, transposing.
// Only for files in ops/cpu/kernels.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include "core/parallel.h"
#include "core/tensor.h"
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

/// Head `g` of group `j` of a tensor [T, KV, G, D].
template <class T, class AnyTensor>
auto head_rows(const AnyTensor& tensor, std::int64_t j, std::int64_t g = 0) {
  auto* data = tensor.template as<T>() + j * tensor.stride(1) + g * tensor.stride(2);
  return Rows<std::remove_pointer_t<decltype(data)>>{data, tensor.stride(0)};
}

/// One vector's worth of elements as they are, or widened.
template <class To, class T, class Lanes>
HG_INLINE void copy(To* to, const T* from, Lanes lanes) {
  if constexpr (std::is_same_v<To, T>) {
    std::memcpy(to, from, static_cast<std::size_t>(lanes.count) * sizeof(T));
  } else {
    store(to, load(from, lanes), lanes);
  }
}

/// to[i, :d] = row begin + i as the element type of `to`; zeros up to `width`, and in rows up to
/// `padded`.
template <class To, class T>
void copy_rows(To* to, std::int64_t width, Rows<const T> from, std::int64_t begin,
               std::int64_t count, std::int64_t padded, std::int64_t d) {
  To* const first = to;
  for (std::int64_t i = 0; i < count; ++i, to += width) {
    const T* row = from[begin + i];
    for_lanes(d, [&](std::int64_t j, auto lanes) { copy(to + j, row + j, lanes); });
  }
  if (d < width) {
    for (std::int64_t i = 0; i < count; ++i) std::fill_n(first + i * width + d, width - d, To{});
  }
  std::fill_n(to, (padded - count) * width, To{});
}

/// Keys or values of all heads, packed: token t of group j is row j T + t.
template <class Element>
struct PackedKeys {
  Element* data;
  std::int64_t tokens, width;
  Element* row(std::int64_t j, std::int64_t token) const {
    return data + (j * tokens + token) * width;
  }
};

/// Packs keys and values, [T, KV, 1, D], into a room for each. Their blocks are read many times,
/// and rows that lie a power of two apart, as those of a fused projection do, fall into the same
/// few lines of a cache.
template <class T, class Element>
std::array<PackedKeys<const Element>, 2> pack_keys(const std::array<Tensor, 2>& rooms,
                                                   const std::array<ConstTensor, 2>& from,
                                                   std::int64_t width) {
  constexpr std::int64_t kGrain = 64;
  const std::int64_t tokens = from[0].dim(0), d = from[0].dim(3),
                     pieces = (tokens + kGrain - 1) / kGrain;
  const auto room = [&](std::size_t i) { return reinterpret_cast<Element*>(rooms[i].as<float>()); };
  parallel_for(2 * pieces, [&](std::int64_t task) {
    const auto i = static_cast<std::size_t>(task / pieces);
    const std::int64_t begin = task % pieces * kGrain, count = std::min(kGrain, tokens - begin);
    for (std::int64_t j = 0; j < from[i].dim(1); ++j) {
      copy_rows(PackedKeys<Element>{room(i), tokens, width}.row(j, begin), width,
                head_rows<T>(from[i], j), begin, count, count, d);
    }
  });
  return {{{room(0), tokens, width}, {room(1), tokens, width}}};
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
