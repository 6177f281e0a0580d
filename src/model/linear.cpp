#include "model/linear.h"

#include "ops/fp8.h"

namespace hg {
namespace {

/// What a tensor is for. Weights have square blocks, so that those of the transpose are the same.
enum class Role { value, weight, gradient };

/// Room for a tensor, or its transpose, in FP8.
Fp8Matrix room_for(Context& ctx, Role role, std::int64_t rows, std::int64_t columns) {
  const Fp8Blocks blocks = ctx.fp8 == Fp8::tensor ? Fp8Blocks::whole
                           : role == Role::weight ? Fp8Blocks::squares
                                                  : Fp8Blocks::rows;
  const DType dtype = role == Role::gradient ? DType::e5m2 : DType::e4m3;
  return {.values = ctx.scratch.allocate("fp8", dtype, {rows, columns}),
          .scales = ctx.scratch.allocate("fp8 scales", DType::f32,
                                         fp8_scale_shape(blocks, rows, columns)),
          .blocks = blocks};
}

Fp8Matrix quantized(Context& ctx, Role role, const ConstTensor& x) {
  const Fp8Matrix matrix = room_for(ctx, role, x.dim(0), x.dim(1));
  run(ctx, Fp8Quantize{.matrix = matrix, .transpose = {}, .x = x});
  return matrix;
}

Fp8Matrix transposed(Context& ctx, Role role, const ConstTensor& x) {
  const Fp8Matrix transpose = room_for(ctx, role, x.dim(1), x.dim(0));
  run(ctx, Fp8Quantize{.matrix = {}, .transpose = transpose, .x = x});
  return transpose;
}

void check_extents(const ConstTensor& x, const ConstTensor& weight) {
  for (const std::int64_t extent : {x.dim(0), weight.dim(0), weight.dim(1)}) {
    HG_CHECK(extent % kFp8Multiple == 0,
             "training.fp8: a linear layer of {} tokens with a weight {}: FP8 takes multiples of "
             "{} alone, and {} is none",
             x.dim(0), weight.shape().to_string(), kFp8Multiple, extent);
  }
}

}  // namespace

void run_linear(Context& ctx, const LinearForward& op) {
  if (ctx.fp8 == Fp8::off) return run(ctx, op);
  check_extents(op.x, op.weight);
  const ArenaScope scope(ctx.scratch);
  const Fp8Matrix x = quantized(ctx, Role::value, op.x);
  const Fp8Matrix weight = quantized(ctx, Role::weight, op.weight);
  run(ctx, Fp8Product{.c = op.y, .a = x, .b = weight, .accumulate = false});
}

void run_linear(Context& ctx, const LinearBackward& op) {
  if (ctx.fp8 == Fp8::off) {
    run(ctx, LinearBackwardInput{.dx = op.dx, .dy = op.dy, .weight = op.weight});
    run(ctx, LinearBackwardWeight{
                 .dweight = op.dweight, .dy = op.dy, .x = op.x, .accumulate = op.accumulate});
    return;
  }
  check_extents(op.x, op.weight);
  const ArenaScope scope(ctx.scratch);
  const std::int64_t tokens = op.dy.dim(0), width = op.dy.dim(1);
  const Fp8Matrix dy = room_for(ctx, Role::gradient, tokens, width);
  const Fp8Matrix dy_transposed = room_for(ctx, Role::gradient, width, tokens);
  run(ctx, Fp8Quantize{.matrix = dy, .transpose = dy_transposed, .x = op.dy});
  {
    const ArenaScope of_input(ctx.scratch);
    const Fp8Matrix weight = transposed(ctx, Role::weight, op.weight);
    run(ctx, Fp8Product{.c = op.dx, .a = dy, .b = weight, .accumulate = false});
  }
  const Fp8Matrix x = transposed(ctx, Role::value, op.x);
  run(ctx, Fp8Product{.c = op.dweight, .a = dy_transposed, .b = x, .accumulate = op.accumulate});
}

}  // namespace hg
