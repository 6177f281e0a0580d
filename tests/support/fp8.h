// FP8 matrices that own their memory, and what they stand for.
#pragma once

#include "core/fp8.h"
#include "ops/fp8.h"
#include "support/tensors.h"

namespace hg::test {

/// Room for a matrix in FP8; scales begin as NaN.
inline Fp8Matrix fp8_room(Tensors& memory, DType dtype, Fp8Blocks blocks, std::int64_t rows,
                          std::int64_t columns) {
  return {.values = memory.zeros({rows, columns}, dtype),
          .scales = memory.empty(fp8_scale_shape(blocks, rows, columns)),
          .blocks = blocks};
}

/// Element (row, column) times its scale, in f64.
inline double fp8_value(const Fp8Matrix& matrix, std::int64_t row, std::int64_t column) {
  const std::int64_t rows = matrix.values.dim(0), i = row * matrix.values.dim(1) + column;
  const std::int64_t block = column / kFp8Block;
  std::int64_t scale = 0;
  if (matrix.blocks == Fp8Blocks::rows) scale = block * rows + row;
  if (matrix.blocks == Fp8Blocks::squares) scale = row / kFp8Block * matrix.scales.dim(1) + block;
  return double{get(matrix.values, i)} * double{get(matrix.scales, scale)};
}

/// a b^T in f64, rounded to f32.
inline Tensor fp8_product(Tensors& memory, const Fp8Matrix& a, const Fp8Matrix& b) {
  const std::int64_t m = a.values.dim(0), n = b.values.dim(0), k = a.values.dim(1);
  const Tensor c = memory.empty({m, n});
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < k; ++l) sum += fp8_value(a, i, l) * fp8_value(b, j, l);
      set(c, i * n + j, static_cast<float>(sum));
    }
  }
  return c;
}

}  // namespace hg::test
