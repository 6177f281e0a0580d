// What the simulated cuBLASLt's handles stand for, and which products it knows.
#pragma once

#include <cublasLt.h>

#include <array>
#include <compare>
#include <cstdint>

#include "core/check.h"

namespace cuda_sim {

/// Of an operand in FP8.
struct Scaling {
  const float* scales = nullptr;  // null: 1
  std::int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F;
};
struct Operation {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  Scaling scaling_a{}, scaling_b{};
};
inline bool is_fp8(cudaDataType_t type) { return type == CUDA_R_8F_E4M3 || type == CUDA_R_8F_E5M2; }
struct Layout {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t stride;

  auto operator<=>(const Layout&) const = default;
  std::size_t element() const { return is_fp8(type) ? 1 : type == CUDA_R_16BF ? 2 : 4; }
  std::size_t bytes() const {
    return ((columns - 1) * static_cast<std::uint64_t>(stride) + rows) * element();
  }
};
struct Preference {
  std::uint64_t workspace = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::array<std::uint32_t, 4> alignments{256, 256, 256, 256};  // of A, B, C and D
};
/// What cublasLtMatmulAlgo_t holds: it is good for the problem that it was chosen for, no other.
struct Algorithm {
  std::uint64_t problem;
  std::uint64_t workspace;
  std::array<std::uint32_t, 4> alignments;
  std::array<std::uint64_t, 4> unused{};
};
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));

/// What the documentation says cuBLASLt does not do, or the simulation does not.
struct Unsupported : hg::Error {
  using hg::Error::Error;
};

/// A product without its addresses.
struct Problem {
  Operation operation;
  Layout a, b, c, d;

  /// Throws hg::Error unless its types and shapes are those of a product on a device of this
  /// architecture, 90 for sm_90.
  void check(int architecture) const;
  /// Stands for all of it.
  std::uint64_t hash() const;
  std::uint64_t terms() const { return operation.transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
};

/// Long sums of small results go in two halves, where the caller has room for both and lets them be
/// summed in f32.
Algorithm choose(const Problem& problem, const Preference& preference);

}  // namespace cuda_sim
