// CUDA bodies of ops/linear.h: one product of cuBLASLt each.
#include "ops/linear.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/lt_matmul.h"

namespace hg {
namespace {

/// A matrix as it lies in memory, or the transpose of what lies there.
struct Factor {
  ConstTensor matrix;
  bool transposed = false;
};

/// c = a b, or c += a b.
void multiply(Context& ctx, const Tensor& c, const Factor& a, const Factor& b, bool accumulate,
              const LinearScratch& scratch, cudaStream_t stream) {
  cublas_lt(ctx).run({.m = c.dim(0),
                      .n = c.dim(1),
                      .k = a.matrix.dim(a.transposed ? 0 : 1),
                      .a_stride = a.matrix.stride(0),
                      .b_stride = b.matrix.stride(0),
                      .c_stride = c.stride(0),
                      .a_type = a.matrix.dtype(),
                      .b_type = b.matrix.dtype(),
                      .c_type = c.dtype(),
                      .a_transposed = a.transposed,
                      .b_transposed = b.transposed,
                      .accumulate = accumulate},
                     {.a = a.matrix.data(), .b = b.matrix.data(), .c = c.data()},
                     scratch.library.data(), stream);
}

}  // namespace

template <>
void cuda_kernel(const LinearForward& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  multiply(ctx, op.y, {op.x}, {op.weight, true}, false, op.scratch(ctx), stream);
}

template <>
void cuda_kernel(const LinearBackwardInput& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  multiply(ctx, op.dx, {op.dy}, {op.weight}, false, op.scratch(ctx), stream);
}

template <>
void cuda_kernel(const LinearBackwardWeight& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  multiply(ctx, op.dweight, {op.dy, true}, {op.x}, op.accumulate, op.scratch(ctx), stream);
}

}  // namespace hg
