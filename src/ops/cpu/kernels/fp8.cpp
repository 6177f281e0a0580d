// CPU bodies of ops/fp8.h and ops/cpu/fp8_widen.h: tiles of 128 x 128 elements, in parallel.
#include "core/fp8.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/fp8_widen.h"
#include "ops/cpu/isa.h"
#include "ops/fp8.h"

namespace hg {
namespace {

/// A tile of a matrix in f32, its rows kFp8Block apart, or the transpose of one.
struct Tile {
  std::int64_t row, column;  // of its first element
  std::int64_t rows, columns;
  std::array<float, kFp8Block * kFp8Block> values;

  const float* line(std::int64_t i) const { return values.data() + i * kFp8Block; }
  float* line(std::int64_t i) { return values.data() + i * kFp8Block; }
};

/// Calls fn(row, column) for the tiles of a matrix, in parallel.
template <class Fn>
void for_tiles(const Shape& shape, Fn&& fn) {
  const auto tiles = [&](int axis) { return (shape[axis] + kFp8Block - 1) / kFp8Block; };
  const std::int64_t across = tiles(1);
  parallel_for(tiles(0) * across,
               [&](std::int64_t i) { fn(i / across * kFp8Block, i % across * kFp8Block); });
}

void load_tile(Tile& tile, const ConstTensor& x, std::int64_t row, std::int64_t column) {
  tile.row = row, tile.column = column;
  tile.rows = std::min(kFp8Block, x.dim(0) - row);
  tile.columns = std::min(kFp8Block, x.dim(1) - column);
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const bf16* from = x.as<bf16>() + (row + i) * x.dim(1) + column;
    float* to = tile.line(i);
    for (std::int64_t j = 0; j < tile.columns; ++j) to[j] = static_cast<float>(from[j]);
  }
}

void transpose(Tile& to, const Tile& from) {
  to.row = from.column, to.column = from.row;
  to.rows = from.columns, to.columns = from.rows;
  for (std::int64_t i = 0; i < to.rows; ++i) {
    float* line = to.line(i);
    for (std::int64_t j = 0; j < to.columns; ++j) line[j] = from.line(j)[i];
  }
}

/// The largest magnitude so far, as bits, in which order NaN is the largest.
template <class T>
std::uint32_t larger(std::uint32_t so_far, const T* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i)
    so_far = std::max(so_far, std::bit_cast<std::uint32_t>(static_cast<float>(x[i])) & 0x7fffffffU);
  return so_far;
}

std::uint32_t largest(const Tile& tile) {
  std::uint32_t result = 0;
  for (std::int64_t i = 0; i < tile.rows; ++i) result = larger(result, tile.line(i), tile.columns);
  return result;
}

/// Of a magnitude as bits.
template <class Q>
float scale_of(std::uint32_t magnitude) {
  return fp8_scale<Q>(std::bit_cast<float>(magnitude));
}

template <class Q>
void round_line(Q* to, const float* from, std::int64_t n, float inverse) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = Q(from[i] * inverse);
}

/// Rounds a tile of a matrix, whose scales it makes; those of one block are given.
template <class Q>
void round_tile(const Fp8Matrix& to, const Tile& tile) {
  auto* scales = to.scales.as<float>();
  const std::int64_t width = to.values.dim(1), across = tile.column / kFp8Block;
  float scale = scales[0];
  if (to.blocks == Fp8Blocks::squares) {
    scale = scale_of<Q>(largest(tile));
    scales[tile.row / kFp8Block * to.scales.dim(1) + across] = scale;
  }
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    if (to.blocks == Fp8Blocks::rows) {
      scale = scale_of<Q>(larger(0, tile.line(i), tile.columns));
      scales[across * to.values.dim(0) + tile.row + i] = scale;
    }
    round_line(to.values.as<Q>() + (tile.row + i) * width + tile.column, tile.line(i), tile.columns,
               1 / scale);
  }
}

/// Scales that fill a row up to a multiple of four belong to no block.
void clear_padding(const Fp8Matrix& matrix) {
  if (!matrix || matrix.blocks != Fp8Blocks::squares) return;
  auto* scales = matrix.scales.as<float>();
  std::fill(scales, scales + matrix.scales.numel(), 0.0F);
}

template <class Q>
void scale_of_whole(const Fp8Quantize& op, const Tensor& pieces) {
  const std::int64_t n = op.x.numel(), grain = (n + pieces.numel() - 1) / pieces.numel();
  auto* magnitudes = pieces.as<float>();
  std::fill(magnitudes, magnitudes + pieces.numel(), 0.0F);
  parallel_ranges(n, grain, [&](std::int64_t begin, std::int64_t end) {
    magnitudes[begin / grain] =
        std::bit_cast<float>(larger(0, op.x.as<bf16>() + begin, end - begin));
  });
  const float scale = scale_of<Q>(larger(0, magnitudes, pieces.numel()));
  for (const Fp8Matrix* matrix : {&op.matrix, &op.transpose})
    if (*matrix) *matrix->scales.as<float>() = scale;
}

template <class Q>
void quantize(const Fp8Quantize& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  if (const Tensor pieces = op.scratch(ctx)) scale_of_whole<Q>(op, pieces);
  clear_padding(op.matrix);
  clear_padding(op.transpose);
  for_tiles(op.x.shape(), [&](std::int64_t row, std::int64_t column) {
    Tile tile, transposed;
    load_tile(tile, op.x, row, column);
    if (op.matrix) round_tile<Q>(op.matrix, tile);
    if (!op.transpose) return;
    transpose(transposed, tile);
    round_tile<Q>(op.transpose, transposed);
  });
}

template <class Q>
void widen(const WidenFp8& op) {
  const Fp8Matrix& from = op.from;
  const std::int64_t rows = op.to.dim(0), columns = op.to.dim(1);
  const auto* scales = from.scales.as<float>();
  const auto scale_at = [&](std::int64_t row, std::int64_t block) {
    if (from.blocks == Fp8Blocks::whole) return scales[0];
    if (from.blocks == Fp8Blocks::rows) return scales[block * rows + row];
    return scales[row / kFp8Block * from.scales.dim(1) + block];
  };
  constexpr std::int64_t kGrain = 16;
  parallel_ranges(rows, kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t first = 0; first < columns; first += kFp8Block) {
        const Q* x = from.values.as<Q>() + row * columns + first;
        float* to = op.to.as<float>() + row * columns + first;
        const float scale = scale_at(row, first / kFp8Block);
        const std::int64_t n = std::min(kFp8Block, columns - first);
        for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(x[i]) * scale;
      }
    }
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const Fp8Quantize& op, Context& ctx) {
  op.any().values.dtype() == DType::e4m3 ? quantize<e4m3>(op, ctx) : quantize<e5m2>(op, ctx);
}

template <>
void cpu_kernel<kIsa>(const WidenFp8& op, Context&) {
  op.from.values.dtype() == DType::e4m3 ? widen<e4m3>(op) : widen<e5m2>(op);
}

}  // namespace hg
