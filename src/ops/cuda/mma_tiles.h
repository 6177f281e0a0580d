// Matrix products of a block: tiles of A and B come to shared memory some steps ahead, and are
// multiplied by tensor cores (bf16) or one by one (f32), with sums in f32.
#pragma once

#include <type_traits>

#include "cuda/ptx.h"
#include "ops/cuda/vectors.h"

namespace hg {

/// Threads of a block that multiplies tiles.
inline constexpr int kTileThreads = 256;

/// rows x columns elements in shared memory, in chunks of 16 bytes. The chunks of a row change
/// places, other ones in each row, so that those of eight rows in one column are in different
/// banks.
template <class T, int rows, int columns>
struct SharedTile {
  static constexpr int kRows = rows, kColumns = columns;
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  // elements
  static constexpr int kChunks = columns / kChunk;                 // of a row
  static constexpr int kRowsOfBanks = kChunks < 8 ? 8 / kChunks : 1;
  static constexpr int kPlaces = kChunks < 8 ? kChunks : 8;

  T* memory;

  HG_DEVICE T* chunk(int row, int chunk) const {
    return memory + row * columns + (chunk ^ row / kRowsOfBanks % kPlaces) * kChunk;
  }
  HG_DEVICE float at(int row, int column) const {
    return to_f32(chunk(row, column / kChunk)[column % kChunk]);
  }
};

/// Starts the copy of a tile whose first element is at `from`; what is not among `rows` x `columns`
/// becomes zero. With `wide`, rows begin at multiples of 16 bytes and have whole chunks.
template <bool wide, class T, int tile_rows, int tile_columns>
HG_DEVICE void load_tile(const SharedTile<T, tile_rows, tile_columns>& tile, const T* from,
                         int stride, int rows, int columns) {
  using Tile = SharedTile<T, tile_rows, tile_columns>;
  for (int i = static_cast<int>(threadIdx.x); i < tile_rows * Tile::kChunks; i += kTileThreads) {
    const int row = i / Tile::kChunks, chunk = i % Tile::kChunks, column = chunk * Tile::kChunk;
    T* to = tile.chunk(row, chunk);
    if constexpr (wide) {
      const bool there = row < rows && column < columns;
      copy_async_16(to, from + row * stride + column, there);
    } else {
      for (int e = 0; e < Tile::kChunk; ++e) {
        const bool there = row < rows && column + e < columns;
        to[e] = there ? from[row * stride + column + e] : from_f32<T>(0);
      }
    }
  }
}

/// The result of a block for bf16: 128 x 128, of which each of 2 x 4 warps has 64 x 32.
struct TensorCoreSums {
  using Element = __nv_bfloat16;
  static constexpr int kM = 128, kN = 128, kK = 32;  // of a step
  static constexpr int kStages = 4;                  // steps that are in shared memory
  static constexpr int kBlocks = 2;                  // of a multiprocessor
  static constexpr int kWarpM = 64, kWarpN = 32;

  float sums[kWarpM / 16][kWarpN / 8][4];

  HG_DEVICE static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  HG_DEVICE static int warp_row() { return static_cast<int>(threadIdx.x) / 32 / 4 * kWarpM; }
  HG_DEVICE static int warp_column() { return static_cast<int>(threadIdx.x) / 32 % 4 * kWarpN; }

  HG_DEVICE void clear() {
    for (auto& row : sums)
      for (auto& tile : row)
        for (float& sum : tile) sum = 0;
  }

  /// += a b. Tiles are stored [kM, kK] and [kK, kN], or transposed.
  template <bool a_transposed, bool b_transposed, class A, class B>
  HG_DEVICE void add(const A& a, const B& b) {
    const int l = lane();
#pragma unroll
    for (int k = 0; k < kK; k += 16) {
      std::uint32_t right[kWarpN / 16][4];
#pragma unroll
      for (int j = 0; j < kWarpN / 16; ++j) {  // matrices: columns, 8 terms on, both 8 to the right
        const int n = warp_column() + j * 16;
        if constexpr (b_transposed) {
          load_matrices(right[j], b.chunk(n + l % 8 + l / 16 * 8, k / 8 + l / 8 % 2));
        } else {
          load_transposed_matrices(right[j], b.chunk(k + l % 16, n / 8 + l / 16));
        }
      }
#pragma unroll
      for (int i = 0; i < kWarpM / 16; ++i) {  // matrices: rows, 8 below, both 8 terms on
        const int m = warp_row() + i * 16;
        std::uint32_t left[4];
        if constexpr (a_transposed) {
          load_transposed_matrices(left, a.chunk(k + l % 8 + l / 16 * 8, m / 8 + l / 8 % 2));
        } else {
          load_matrices(left, a.chunk(m + l % 16, k / 8 + l / 16));
        }
#pragma unroll
        for (int j = 0; j < kWarpN / 8; ++j) {
          const std::uint32_t(&its)[4] = right[j / 2];
          multiply_add(sums[i][j], left, {its[j % 2 * 2], its[j % 2 * 2 + 1]});
        }
      }
    }
  }

  /// Calls fn(row, column, values) for all elements that the thread has, pairs of neighbours.
  template <class Fn>
  HG_DEVICE void for_each(Fn&& fn) const {
#pragma unroll
    for (int i = 0; i < kWarpM / 16; ++i) {
#pragma unroll
      for (int j = 0; j < kWarpN / 8; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float pair[2] = {sums[i][j][half * 2], sums[i][j][half * 2 + 1]};
          fn(warp_row() + i * 16 + half * 8 + lane() / 4, warp_column() + j * 8 + lane() % 4 * 2,
             pair);
        }
      }
    }
  }
};

/// The same for f32: 64 x 64, of which a thread has every 16th row and column.
struct PlainSums {
  using Element = float;
  static constexpr int kM = 64, kN = 64, kK = 16, kStages = 3, kBlocks = 2;
  static constexpr int kSide = 16;

  float sums[kM / kSide][kN / kSide];

  HG_DEVICE static int first_row() { return static_cast<int>(threadIdx.x) / kSide; }
  HG_DEVICE static int first_column() { return static_cast<int>(threadIdx.x) % kSide; }

  HG_DEVICE void clear() {
    for (auto& row : sums)
      for (float& sum : row) sum = 0;
  }

  template <bool a_transposed, bool b_transposed, class A, class B>
  HG_DEVICE void add(const A& a, const B& b) {
    for (int k = 0; k < kK; ++k) {
      float left[kM / kSide], right[kN / kSide];
      for (int i = 0; i < kM / kSide; ++i) {
        const int m = first_row() + i * kSide;
        left[i] = a_transposed ? a.at(k, m) : a.at(m, k);
      }
      for (int j = 0; j < kN / kSide; ++j) {
        const int n = first_column() + j * kSide;
        right[j] = b_transposed ? b.at(n, k) : b.at(k, n);
      }
      for (int i = 0; i < kM / kSide; ++i)
        for (int j = 0; j < kN / kSide; ++j) sums[i][j] += left[i] * right[j];
    }
  }

  template <class Fn>
  HG_DEVICE void for_each(Fn&& fn) const {
#pragma unroll
    for (int i = 0; i < kM / kSide; ++i) {
#pragma unroll
      for (int j = 0; j < kN / kSide; ++j) {
        const float one[1] = {sums[i][j]};
        fn(first_row() + i * kSide, first_column() + j * kSide, one);
      }
    }
  }
};

/// An operand of a tile: where its first element is, and how many rows of the result (of B:
/// columns) it has there.
template <class T>
struct TileOperand {
  const T* data;
  int stride;
  int extent;
};

/// Bytes of shared memory that `multiply_tile` takes.
template <class Sums>
inline constexpr int kTileBytes = Sums::kStages*(Sums::kM + Sums::kN) *
                                  Sums::kK* static_cast<int>(sizeof(typename Sums::Element));

/// result = a b, with sums over `terms`. The block has passed a barrier since `memory` was used.
template <bool a_transposed, bool b_transposed, bool wide, class Sums>
HG_DEVICE void multiply_tile(Sums& result, const TileOperand<typename Sums::Element>& a,
                             const TileOperand<typename Sums::Element>& b, int terms,
                             void* memory) {
  using T = typename Sums::Element;
  constexpr int kM = Sums::kM, kN = Sums::kN, kK = Sums::kK, kAhead = Sums::kStages - 1;
  using A = std::conditional_t<a_transposed, SharedTile<T, kK, kM>, SharedTile<T, kM, kK>>;
  using B = std::conditional_t<b_transposed, SharedTile<T, kN, kK>, SharedTile<T, kK, kN>>;
  const auto tile_of_a = [&](int step) {
    return A{static_cast<T*>(memory) + step % Sums::kStages * (kM + kN) * kK};
  };
  const auto tile_of_b = [&](int step) { return B{tile_of_a(step).memory + kM * kK}; };
  const T *next_a = a.data, *next_b = b.data;
  const auto load = [&](int step) {
    const int left = terms - step * kK;
    if (left > 0) {
      load_tile<wide>(tile_of_a(step), next_a, a.stride, a_transposed ? left : a.extent,
                      a_transposed ? a.extent : left);
      load_tile<wide>(tile_of_b(step), next_b, b.stride, b_transposed ? b.extent : left,
                      b_transposed ? left : b.extent);
      next_a += a_transposed ? std::int64_t{kK} * a.stride : kK;
      next_b += b_transposed ? kK : std::int64_t{kK} * b.stride;
    }
    commit_copies();  // an empty group, if there is no such step: all steps wait alike
  };

  result.clear();
  for (int step = 0; step < kAhead; ++step) load(step);
  for (int step = 0; step * kK < terms; ++step) {
    wait_for_copies<kAhead - 1>();
    __syncthreads();  // the step is there for all; and all are done with the one before it
    load(step + kAhead);
    result.template add<a_transposed, b_transposed>(tile_of_a(step), tile_of_b(step));
  }
}

/// Where a tile of the result goes; what is beyond its rows and columns does not.
template <class T>
struct TileOutput {
  T* data;
  int stride;
  int rows, columns;
};

/// output (+)= result. With `wide`, neighbours are written together.
template <bool wide, class Sums, class T>
HG_DEVICE void store_tile(const Sums& result, const TileOutput<T>& output, bool accumulate) {
  result.for_each([&]<int n>(int row, int column, const float(&values)[n]) {
    if (row >= output.rows) return;
    T* to = output.data + static_cast<std::int64_t>(row) * output.stride + column;
    if constexpr (wide) {
      if (column >= output.columns) return;
      Elements<T, n> out;
      if (accumulate) out = *reinterpret_cast<const Elements<T, n>*>(to);
      for (int e = 0; e < n; ++e) out.set(e, accumulate ? out[e] + values[e] : values[e]);
      *reinterpret_cast<Elements<T, n>*>(to) = out;
    } else {
      for (int e = 0; e < n && column + e < output.columns; ++e)
        to[e] = from_f32<T>(accumulate ? to_f32(to[e]) + values[e] : values[e]);
    }
  });
}

}  // namespace hg
