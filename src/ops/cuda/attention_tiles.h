// Tiles of rows in shared memory and a warp's products of them: in bf16 by tensor cores, in f32 by
// multiply-adds. Either way, lane 4 g + t holds of a product [16, n], in c[j], the columns 8 j + 2
// t and the next of row g, then those of row g + 8.
#pragma once

#include <cstring>

#include "cuda/ptx.h"
#include "ops/cuda/attention_rows.h"

namespace hg {

inline constexpr unsigned kAllLanes = 0xffffffff;

HG_DEVICE int lane_of_warp() { return static_cast<int>(threadIdx.x % 32); }

/// Rows of `width` elements. Their 16-byte chunks are permuted, so that neighbouring rows have the
/// same column in different banks.
template <class T, int width>
struct Tile {
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T)), kChunks = width / kChunk;
  T* data;

  HG_DEVICE static int place(int row, int index) {
    return row * width + (index ^ row % 8) * kChunk;
  }
  /// The chunk `by` chunks to the right, where that sets bits of the index that were not set.
  HG_DEVICE static int moved(int place, int by) {
    return (place ^ by % 8 * kChunk) + by / 8 * 8 * kChunk;
  }
  HG_DEVICE T* chunk(int row, int index) const { return data + place(row, index); }
  HG_DEVICE T* at(int row, int column) const {
    return chunk(row, column / kChunk) + column % kChunk;
  }
};

/// Starts copying rows [first, first + rows) of a group into the tile; zeroes beyond its rows and
/// columns. The block waits for copies, then for all its threads.
template <int rows, class T, int width>
HG_DEVICE void start_copy(Tile<T, width> to, const GroupRows<const T>& from, int first) {
  using Its = Tile<T, width>;
  const int threads = static_cast<int>(blockDim.x);
  for (int i = static_cast<int>(threadIdx.x); i < rows * Its::kChunks; i += threads) {
    const int r = i / Its::kChunks, column = i % Its::kChunks * Its::kChunk;
    const bool there = first + r < from.count && column < from.d;
    const T* source = there ? from.row(first + r) + column : from.data;
    T* chunk = to.chunk(r, i % Its::kChunks);
    if (from.wide) {
      copy_async_16(chunk, source, there);
    } else {
      for (int j = 0; j < Its::kChunk; ++j)
        chunk[j] = there && column + j < from.d ? source[j] : from_f32<T>(0);
    }
  }
}

/// Copies the tile to rows [first, first + rows) of a group, as far as it has such.
template <int rows, class T, int width>
HG_DEVICE void store_rows(const GroupRows<T>& to, Tile<T, width> from, int first) {
  using Its = Tile<T, width>;
  using Chunk = Elements<T, Its::kChunk>;
  const int threads = static_cast<int>(blockDim.x);
  for (int i = static_cast<int>(threadIdx.x); i < rows * Its::kChunks; i += threads) {
    const int r = i / Its::kChunks, column = i % Its::kChunks * Its::kChunk;
    if (first + r >= to.count || column >= to.d) continue;
    const T* chunk = from.chunk(r, i % Its::kChunks);
    T* target = to.row(first + r) + column;
    if (to.wide) {
      *reinterpret_cast<Chunk*>(target) = *reinterpret_cast<const Chunk*>(chunk);
    } else {
      for (int j = 0; j < Its::kChunk && column + j < to.d; ++j) target[j] = chunk[j];
    }
  }
}

/// Rows row + g and row + g + 8 of the tile, from `column` on, become those of c, times a factor
/// each.
template <class T, int width, int n>
HG_DEVICE void put(Tile<T, width> to, int row, int column, const float (&c)[n][4], float factor,
                   float factor8) {
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
#pragma unroll
  for (int j = 0; j < n; ++j) {
    Elements<T, 2> upper, lower;
    for (int e = 0; e < 2; ++e) {
      upper.set(e, c[j][e] * factor);
      lower.set(e, c[j][2 + e] * factor8);
    }
    const int its = column + 8 * j + 2 * t;
    *reinterpret_cast<Elements<T, 2>*>(to.at(row + g, its)) = upper;
    *reinterpret_cast<Elements<T, 2>*>(to.at(row + g + 8, its)) = lower;
  }
}

HG_DEVICE std::uint32_t pack(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

/// c [16, 8 n] += a b^T: rows [row, row + 16) of a, rows [0, 8 n) of b.
template <int width, int n>
HG_DEVICE void add_products(float (&c)[n][4], Tile<__nv_bfloat16, width> a, int row,
                            Tile<__nv_bfloat16, width> b) {
  using Its = Tile<__nv_bfloat16, width>;
  const int lane = lane_of_warp();
  const int left_place = Its::place(row + lane % 16, lane / 16);
  const int right_place = Its::place(lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
  for (int k = 0; k < width / 8; k += 2) {
    std::uint32_t left[4];
    load_matrices(left, a.data + Its::moved(left_place, k));
#pragma unroll
    for (int j = 0; j < n; j += 2) {
      std::uint32_t right[4];
      load_matrices(right, b.data + Its::moved(right_place, k) + 8 * j * width);
      multiply_add(c[j], left, {right[0], right[1]});
      multiply_add(c[j + 1], left, {right[2], right[3]});
    }
  }
}

template <int width, int n>
HG_DEVICE void add_products(float (&c)[n][4], Tile<float, width> a, int row, Tile<float, width> b) {
  using Vector = Elements<float, 4>;
  const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
#pragma unroll 1
  for (int k = 0; k < width / 4; ++k) {
    const Vector left = *reinterpret_cast<const Vector*>(a.chunk(row + g, k));
    const Vector left8 = *reinterpret_cast<const Vector*>(a.chunk(row + g + 8, k));
#pragma unroll
    for (int i = 0; i < 2 * n; ++i) {
      const int j = i / 2, e = i % 2;
      const Vector right = *reinterpret_cast<const Vector*>(b.chunk(8 * j + 2 * t + e, k));
#pragma unroll
      for (int l = 0; l < 4; ++l) {
        c[j][e] += left[l] * right[l];
        c[j][2 + e] += left8[l] * right[l];
      }
    }
  }
}

/// c [16, 8 columns] += w b: w [16, 8 n] is such a product, b rows [0, 8 n) of a tile, from
/// `column` on, a multiple of 64. In bf16, w is rounded.
template <int width, int n, int columns>
HG_DEVICE void add_weighted(float (&c)[columns][4], const float (&w)[n][4],
                            Tile<__nv_bfloat16, width> b, int column) {
  using Its = Tile<__nv_bfloat16, width>;
  const int lane = lane_of_warp();
  const int place = Its::place(lane % 16, lane / 16) + column;
#pragma unroll
  for (int k = 0; k < n; k += 2) {
    const std::uint32_t left[4] = {pack(w[k][0], w[k][1]), pack(w[k][2], w[k][3]),
                                   pack(w[k + 1][0], w[k + 1][1]), pack(w[k + 1][2], w[k + 1][3])};
#pragma unroll
    for (int j = 0; j < columns; j += 2) {
      std::uint32_t right[4];
      load_transposed_matrices(right, b.data + Its::moved(place, j) + 8 * k * width);
      multiply_add(c[j], left, {right[0], right[1]});
      multiply_add(c[j + 1], left, {right[2], right[3]});
    }
  }
}

template <int width, int n, int columns>
HG_DEVICE void add_weighted(float (&c)[columns][4], const float (&w)[n][4], Tile<float, width> b,
                            int column) {
  const int quad = lane_of_warp() / 4 * 4, t = lane_of_warp() % 4;
#pragma unroll
  for (int k = 0; k < 8 * n; ++k) {
    const float left = __shfl_sync(kAllLanes, w[k / 8][k % 2], quad + k % 8 / 2);
    const float left8 = __shfl_sync(kAllLanes, w[k / 8][2 + k % 2], quad + k % 8 / 2);
#pragma unroll
    for (int j = 0; j < columns; ++j) {
      const auto right =
          *reinterpret_cast<const Elements<float, 2>*>(b.at(k, column + 8 * j + 2 * t));
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        c[j][e] += left * right[e];
        c[j][2 + e] += left8 * right[e];
      }
    }
    __syncwarp();  // keeps the compiler from loading the next rows before it is done with this
  }
}

/// Over the four lanes that share a row.
template <class Combine>
HG_DEVICE float over_row(float x, Combine&& combine) {
  for (int lanes = 1; lanes < 4; lanes *= 2) x = combine(x, __shfl_xor_sync(kAllLanes, x, lanes));
  return x;
}

/// Calls fn.operator()<T, width>() for an element type and the least width that has d columns.
template <class Fn>
void for_tiles(DType dtype, std::int64_t d, Fn&& fn) {
  HG_CHECK(d <= 256, "attention: heads of {} elements, expected at most 256 on a GPU", d);
  const auto with = [&]<int width>() {
    dtype == DType::f32 ? fn.template operator()<float, width>()
                        : fn.template operator()<bf16, width>();
  };
  if (d <= 64) return with.template operator()<64>();
  return d <= 128 ? with.template operator()<128>() : with.template operator()<256>();
}

}  // namespace hg
