// Matrix products by cuBLASLt. Only for what is linked with CUDA.
#pragma once

#include <cuda_runtime_api.h>

#include <compare>
#include <cstdint>
#include <memory>

#include "core/context.h"
#include "ops/fp8.h"

namespace hg {

/// C = A B, or C += A B, with C [m, n] and a sum over k, in f32. Rows lie a stride apart, counted
/// in elements; elements of a row lie end to end.
struct LtProduct {
  std::int64_t m, n, k;
  std::int64_t a_stride, b_stride, c_stride;
  DType a_type, b_type, c_type;
  bool a_transposed, b_transposed;  // A is stored [k, m], not [m, k]; B [n, k], not [k, n]
  bool accumulate;
  Fp8Blocks a_blocks = Fp8Blocks::whole, b_blocks = Fp8Blocks::whole;  // of FP8

  auto operator<=>(const LtProduct&) const = default;
};

/// Where the operands of a product lie.
struct LtOperands {
  const void *a, *b;
  void* c;
  const float *a_scales = nullptr, *b_scales = nullptr;  // of FP8, as ops/fp8.h has them
};

/// A handle of cuBLASLt and the algorithm of every product that ran so far: it is chosen once, by
/// shapes, types, strides and alignments, so that a step chooses none after the first and the same
/// product has the same bits. Belongs to a Context, and to the device that is current when it is
/// made.
class CublasLt {
 public:
  CublasLt();
  ~CublasLt();

  /// Puts the product into the stream, with a workspace of kCublasLtWorkspace bytes. Throws
  /// hg::Error with the product's shape if cuBLASLt does not take it.
  void run(const LtProduct& product, const LtOperands& operands, void* workspace,
           cudaStream_t stream);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The context's CublasLt, made on demand.
CublasLt& cublas_lt(Context& ctx);

}  // namespace hg
