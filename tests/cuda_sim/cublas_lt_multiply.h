// The arithmetic of the simulated cuBLASLt.
#pragma once

#include <cstddef>

namespace cuda_sim {

/// A matrix in memory, column by column, of f32 or bf16.
struct StoredMatrix {
  void* data;
  bool is_bf16;
  std::size_t rows, columns, stride;
  bool transposed = false;  // as an operand

  std::size_t operand_rows() const { return transposed ? columns : rows; }
  std::size_t operand_columns() const { return transposed ? rows : columns; }
  float get(std::size_t row, std::size_t column) const;
  void set(std::size_t row, std::size_t column, float value) const;
};

/// d = alpha a b + beta c, in f32. With a workspace, two halves of the sums are made there first:
/// f32 of d's size each.
void multiply(const StoredMatrix& d, float alpha, const StoredMatrix& a, const StoredMatrix& b,
              float beta, const StoredMatrix& c, float* workspace);

}  // namespace cuda_sim
