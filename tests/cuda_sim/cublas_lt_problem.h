// What the simulated cuBLASLt's handles stand for, and which products it knows.
#pragma once

#include <cublasLt.h>

#include <array>
#include <compare>
#include <cstdint>

#include "core/check.h"

namespace cuda_sim {

struct Operation {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  cublasOperation_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
};
struct Layout {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t stride;

  auto operator<=>(const Layout&) const = default;
  std::size_t element() const { return type == CUDA_R_16BF ? 2 : 4; }
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

  /// Throws hg::Error unless its types and shapes are those of a product.
  void check() const;
  /// Stands for all of it.
  std::uint64_t hash() const;
  std::uint64_t terms() const { return operation.transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
};

/// Long sums of small results go in two halves, where the caller has room for both and lets them be
/// summed in f32.
Algorithm choose(const Problem& problem, const Preference& preference);

}  // namespace cuda_sim
