// CUDA bodies of ops/linear.h: one product of cuBLASLt each.
#include "ops/linear.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/lt_matmul.h"

namespace hg {
namespace {

void multiply(Context& ctx, const LtProduct& product, const ConstTensor& a, const ConstTensor& b,
              const Tensor& c, const LinearScratch& scratch, cudaStream_t stream) {
  cublas_lt(ctx).run(product, a.data(), b.data(), c.data(), scratch.library.data(), stream);
}

}  // namespace

template <>
void cuda_kernel(const LinearForward& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  multiply(ctx,
           {.m = op.x.dim(0),
            .n = op.weight.dim(0),
            .k = op.x.dim(1),
            .a_stride = op.x.stride(0),
            .b_stride = op.weight.stride(0),
            .c_stride = op.y.stride(0),
            .input = op.x.dtype(),
            .output = op.x.dtype(),
            .a_transposed = false,
            .b_transposed = true,
            .accumulate = false},
           op.x, op.weight, op.y, op.scratch(ctx), stream);
}

template <>
void cuda_kernel(const LinearBackwardInput& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  multiply(ctx,
           {.m = op.dy.dim(0),
            .n = op.weight.dim(1),
            .k = op.dy.dim(1),
            .a_stride = op.dy.stride(0),
            .b_stride = op.weight.stride(0),
            .c_stride = op.dx.stride(0),
            .input = op.dy.dtype(),
            .output = op.dy.dtype(),
            .a_transposed = false,
            .b_transposed = false,
            .accumulate = false},
           op.dy, op.weight, op.dx, op.scratch(ctx), stream);
}

template <>
void cuda_kernel(const LinearBackwardWeight& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  multiply(ctx,
           {.m = op.dy.dim(1),
            .n = op.x.dim(1),
            .k = op.x.dim(0),
            .a_stride = op.dy.stride(0),
            .b_stride = op.x.stride(0),
            .c_stride = op.dweight.stride(0),
            .input = op.x.dtype(),
            .output = DType::f32,
            .a_transposed = true,
            .b_transposed = false,
            .accumulate = op.accumulate},
           op.dy, op.x, op.dweight, op.scratch(ctx), stream);
}

}  // namespace hg
