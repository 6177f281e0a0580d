// The arithmetic of the simulated cuBLASLt.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace cuda_sim {

/// Elements of a matrix that share a scale: all; 128 of a column; 128 x 128.
enum class ScaleBlocks { whole, columns, squares };

/// A matrix in memory, column by column.
struct StoredMatrix {
  void* data;
  hg::DType type;  // f32, bf16 or FP8
  std::size_t rows, columns, stride;
  bool transposed = false;        // as an operand
  const float* scales = nullptr;  // null: 1
  ScaleBlocks blocks = ScaleBlocks::whole;

  std::size_t operand_rows() const { return transposed ? columns : rows; }
  std::size_t operand_columns() const { return transposed ? rows : columns; }
  /// Times its scale.
  float get(std::size_t row, std::size_t column) const;
  /// Where the scale of an element lies: see the documentation, "1D and 2D block scaling".
  std::size_t scale_at(std::size_t row, std::size_t column) const;
  /// How many there are.
  std::size_t scale_count() const;
  void set(std::size_t row, std::size_t column, float value) const;
};

/// d = alpha a b + beta c, in f32. With a workspace, two halves of the sums are made there first:
/// f32 of d's size each.
void multiply(const StoredMatrix& d, float alpha, const StoredMatrix& a, const StoredMatrix& b,
              float beta, const StoredMatrix& c, float* workspace);

}  // namespace cuda_sim
