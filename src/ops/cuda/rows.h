// Matrices and heads whose rows lie any distance apart, and blocks of threads that cover them. Only
// for .cu files.
#pragma once

#include <algorithm>
#include <bit>

#include "ops/cuda/vectors.h"

namespace hg {
namespace {

/// The rows of a matrix.
template <class T>
struct Rows {
  T* data;
  std::int64_t stride;

  HG_DEVICE T* operator[](std::int64_t row) const { return data + row * stride; }
};
template <class T>
Rows<DeviceType<T>> rows_of(const Tensor& matrix) {
  return {device_pointer<T>(matrix), matrix.stride(0)};
}
template <class T>
Rows<const DeviceType<T>> rows_of(const ConstTensor& matrix) {
  return {device_pointer<T>(matrix), matrix.stride(0)};
}

/// Head g of group j of token t.
struct Head {
  unsigned t, j, g;
};
/// How many heads there are, numbered in the order of t, j, g.
struct HeadCount {
  unsigned all, groups, of_group;

  HG_DEVICE Head operator[](unsigned i) const {
    const unsigned group = i / of_group;
    return {group / groups, group % groups, i % of_group};
  }
};
/// Of [T, KV, G, ...].
inline HeadCount heads_in(const Shape& shape) {
  const auto extent = [&](int axis) { return static_cast<unsigned>(shape[axis]); };
  return {extent(0) * extent(1) * extent(2), extent(1), extent(2)};
}

/// Where the heads of a [T, KV, G, ...] tensor begin.
template <class T>
struct Heads {
  T* data;
  std::int64_t token, group, head;

  HG_DEVICE T* operator[](Head at) const {
    return data + at.t * token + at.j * group + at.g * head;
  }
};
template <class T, class Void>
auto heads_of(const BasicTensor<Void>& heads) {
  auto* data = device_pointer<T>(heads);
  return Heads<std::remove_pointer_t<decltype(data)>>{data, heads.stride(0), heads.stride(1),
                                                      heads.stride(2)};
}

/// Blocks of blockDim.x columns and blockDim.y rows, kCoverThreads threads in all.
struct Cover {
  dim3 grid, block;
};
constexpr int kCoverThreads = 256;

inline unsigned blocks_of(std::int64_t count, std::int64_t of) {
  return static_cast<unsigned>((count + of - 1) / of);
}

/// A thread for every element of [rows, columns].
inline Cover cover_all(std::int64_t rows, std::int64_t columns) {
  const unsigned wide =
      std::min(std::bit_ceil(static_cast<unsigned>(columns)), static_cast<unsigned>(kCoverThreads));
  const unsigned high = kCoverThreads / wide;
  return {dim3(blocks_of(rows, high), blocks_of(columns, wide)), dim3(wide, high)};
}
/// Up to a warp for every row: threads of equal threadIdx.y are lanes of the same.
inline Cover cover_rows(std::int64_t rows, std::int64_t columns) {
  const unsigned wide = std::min(std::bit_ceil(static_cast<unsigned>(columns)), 32U);
  const unsigned high = kCoverThreads / wide;
  return {dim3(blocks_of(rows, high)), dim3(wide, high)};
}
HG_DEVICE unsigned cover_row() { return blockIdx.x * blockDim.y + threadIdx.y; }
HG_DEVICE int cover_column() { return static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); }

/// The sum over threads of equal threadIdx.y under cover_rows, in all of them. All lanes call it.
HG_DEVICE float lanes_sum(float x) {
  for (unsigned lanes = blockDim.x / 2; lanes > 0; lanes /= 2)
    x += __shfl_xor_sync(0xffffffff, x, static_cast<int>(lanes));
  return x;
}

}  // namespace
}  // namespace hg
