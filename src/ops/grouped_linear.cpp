#include "ops/grouped_linear.h"

namespace hg {
namespace {

/// Checks the matrices of rows, [R, N] and [R, K], the weights or their gradient, [E, N, K], and
/// the offsets. `outer` is what has a side of N.
struct Operands {
  std::string_view op;
  const char *outer_name, *inner_name, *weight_name;
  ConstTensor outer, inner, weight, offsets;
  DType weight_dtype;

  void check() const {
    HG_CHECK(outer.rank() == 2 && inner.rank() == 2 && weight.rank() == 3,
             "{}: {} {} and {} {} are not matrices, or {} {} is not one for each expert", op,
             outer_name, outer.shape().to_string(), inner_name, inner.shape().to_string(),
             weight_name, weight.shape().to_string());
    const std::int64_t r = inner.dim(0), e = weight.dim(0), n = weight.dim(1), k = weight.dim(2);
    const DType dtype = inner.dtype();
    HG_CHECK(dtype != DType::i32, "{}: operand '{}' is i32, expected f32 or bf16", op, inner_name);
    check_slice(op, inner_name, inner, {r, k}, dtype);
    check_slice(op, outer_name, outer, {r, n}, dtype);
    check_contiguous(op, weight_name, weight, {e, n, k}, weight_dtype);
    check_contiguous(op, "offsets", offsets, {e + 1}, DType::i32);
    HG_CHECK(inner.numel() > 0 && weight.numel() > 0, "{}: {} {} or {} {} is empty", op, inner_name,
             inner.shape().to_string(), weight_name, weight.shape().to_string());
  }

  /// As if all R rows were in use: how many are, only the run knows.
  Cost cost() const {
    return {.flops = 2.0 * static_cast<double>(outer.numel()) * static_cast<double>(inner.dim(1)),
            .bytes = static_cast<double>(outer.bytes() + inner.bytes() + weight.bytes())};
  }
};

Operands operands(const GroupedLinearForward& op) {
  return {.op = op.name,
          .outer_name = "y",
          .inner_name = "x",
          .weight_name = "weight",
          .outer = op.y,
          .inner = op.x,
          .weight = op.weight,
          .offsets = op.offsets,
          .weight_dtype = op.x.dtype()};
}

Operands operands(const GroupedLinearBackwardInput& op) {
  return {.op = op.name,
          .outer_name = "dy",
          .inner_name = "dx",
          .weight_name = "weight",
          .outer = op.dy,
          .inner = op.dx,
          .weight = op.weight,
          .offsets = op.offsets,
          .weight_dtype = op.dx.dtype()};
}

Operands operands(const GroupedLinearBackwardWeight& op) {
  return {.op = op.name,
          .outer_name = "dy",
          .inner_name = "x",
          .weight_name = "dweight",
          .outer = op.dy,
          .inner = op.x,
          .weight = op.dweight,
          .offsets = op.offsets,
          .weight_dtype = DType::f32};
}

}  // namespace

void GroupedLinearForward::check() const { operands(*this).check(); }
Cost GroupedLinearForward::cost() const { return operands(*this).cost(); }

void GroupedLinearBackwardInput::check() const { operands(*this).check(); }
Cost GroupedLinearBackwardInput::cost() const { return operands(*this).cost(); }

void GroupedLinearBackwardWeight::check() const { operands(*this).check(); }
Cost GroupedLinearBackwardWeight::cost() const { return operands(*this).cost(); }

}  // namespace hg
