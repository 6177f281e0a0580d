// Matrix products in small blocks, for the vector units of the host.
#include "cuda_sim/cublas_lt_multiply.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "core/fp8.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FOR_EVERY_PROCESSOR  // sanitizers start too late for functions that are chosen at load time
#else
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4,arch=x86-64-v3,default")))
#endif

namespace cuda_sim {

constexpr std::size_t kRows = 16, kColumns = 6;  // of a block
using Column = float __attribute__((vector_size(kRows * sizeof(float))));

/// sums [kColumns][kRows] = a b with a [kRows, k], a column after the other, and b [k, kColumns], a
/// row after the other.
FOR_EVERY_PROCESSOR void multiply_block(float* sums, const float* a, const float* b,
                                        std::size_t k) {
  Column columns[kColumns] = {};
  for (std::size_t i = 0; i < k; ++i) {
    Column left;
    std::memcpy(&left, a + i * kRows, sizeof left);
    for (std::size_t j = 0; j < kColumns; ++j) columns[j] += left * b[i * kColumns + j];
  }
  std::memcpy(sums, columns, sizeof columns);
}

namespace {

/// What a matrix is multiplied from: strips of `width` rows (of b: columns), zeros beyond the last.
std::vector<float> strips(const StoredMatrix& matrix, bool of_rows, std::size_t width) {
  const std::size_t length = of_rows ? matrix.operand_columns() : matrix.operand_rows();
  const std::size_t count = of_rows ? matrix.operand_rows() : matrix.operand_columns();
  std::vector<float> result((count + width - 1) / width * width * length);
  for (std::size_t i = 0; i < count; ++i) {
    float* to = result.data() + i / width * width * length + i % width;
    for (std::size_t k = 0; k < length; ++k) {
      to[k * width] = of_rows != matrix.transposed ? matrix.get(i, k) : matrix.get(k, i);
    }
  }
  return result;
}

/// Calls store(row, column, sum) for the sums over [begin, end) of the k terms.
template <class Store>
void sum(const std::vector<float>& a, const std::vector<float>& b, const StoredMatrix& d,
         std::size_t k, std::size_t begin, std::size_t end, Store&& store) {
  std::array<float, kRows * kColumns> sums;
  for (std::size_t column = 0; column < d.columns; column += kColumns) {
    for (std::size_t row = 0; row < d.rows; row += kRows) {
      multiply_block(sums.data(), a.data() + row * k + begin * kRows,
                     b.data() + column * k + begin * kColumns, end - begin);
      for (std::size_t j = 0; j < std::min(kColumns, d.columns - column); ++j)
        for (std::size_t i = 0; i < std::min(kRows, d.rows - row); ++i)
          store(row + i, column + j, sums[j * kRows + i]);
    }
  }
}

}  // namespace

float StoredMatrix::get(std::size_t row, std::size_t column) const {
  const std::size_t i = column * stride + row;
  const auto value = [&]<class T>(T) { return static_cast<float>(static_cast<const T*>(data)[i]); };
  const float stored = type == hg::DType::f32    ? value(float{})
                       : type == hg::DType::bf16 ? value(hg::bf16{})
                       : type == hg::DType::e4m3 ? value(hg::e4m3{})
                                                 : value(hg::e5m2{});
  return scales == nullptr ? stored : stored * scales[scale_at(row, column)];
}

constexpr std::size_t kBlock = 128;

std::size_t StoredMatrix::scale_at(std::size_t row, std::size_t column) const {
  if (blocks == ScaleBlocks::whole) return 0;
  if (blocks == ScaleBlocks::columns) return row / kBlock * columns + column;
  const std::size_t down = (rows + kBlock - 1) / kBlock;
  return column / kBlock * ((down + 3) / 4 * 4) + row / kBlock;
}

std::size_t StoredMatrix::scale_count() const { return scale_at(rows - 1, columns - 1) + 1; }

void StoredMatrix::set(std::size_t row, std::size_t column, float value) const {
  const std::size_t i = column * stride + row;
  if (type == hg::DType::bf16) {
    static_cast<hg::bf16*>(data)[i] = hg::bf16(value);
  } else {
    static_cast<float*>(data)[i] = value;
  }
}

void multiply(const StoredMatrix& d, float alpha, const StoredMatrix& a, const StoredMatrix& b,
              float beta, const StoredMatrix& c, float* workspace) {
  const std::size_t k = a.operand_columns();
  const std::vector<float> left = strips(a, true, kRows), right = strips(b, false, kColumns);
  const auto store = [&](std::size_t row, std::size_t column, float value) {
    value *= alpha;
    d.set(row, column, beta == 0 ? value : value + beta * c.get(row, column));
  };
  if (workspace == nullptr) return sum(left, right, d, k, 0, k, store);
  for (std::size_t half = 0; half < 2; ++half) {
    sum(left, right, d, k, half * k / 2, (half + 1) * k / 2,
        [&](std::size_t row, std::size_t column, float value) {
          workspace[(half * d.columns + column) * d.rows + row] = value;
        });
  }
  const float* second = workspace + d.rows * d.columns;
  for (std::size_t column = 0; column < d.columns; ++column)
    for (std::size_t row = 0; row < d.rows; ++row)
      store(row, column, workspace[column * d.rows + row] + second[column * d.rows + row]);
}

}  // namespace cuda_sim
