#include "ops/rope.h"

#include <cmath>

#include "ops/cpu/indices.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// What forward and backward ask of the operands that they share.
template <class Op>
void check_shared(const Op& op) {
  constexpr const char* name = Op::name.data();
  const Shape& shape = op.x.shape();
  check_slice(name, "x", op.x, shape, op.x.dtype());
  HG_CHECK(shape.rank() == 4 && shape[3] <= Op::kMaxHeadDim,
           "{}: operand 'x' is {}, expected [T, KV, G, D] with D up to {}", name, shape.to_string(),
           Op::kMaxHeadDim);
  HG_CHECK(bool(op.rstd) == bool(op.weight), "{}: 'rstd' and 'weight' come together or not at all",
           name);
  if (op.weight) {
    check_contiguous(name, "weight", op.weight, {shape[3]}, op.x.dtype());
    check_contiguous(name, "rstd", op.rstd, {shape[0], shape[1], shape[2]}, DType::f32);
  }
  check_contiguous(name, "cos", op.cos, {op.cos.dim(0), op.cos.dim(1)}, DType::f32);
  check_contiguous(name, "sin", op.sin, op.cos.shape(), DType::f32);
  HG_CHECK(2 * op.cos.dim(1) <= shape[3], "{}: the table turns {} dimensions, but heads have {}",
           name, 2 * op.cos.dim(1), shape[3]);
  check_contiguous(name, "positions", op.positions, {shape[0]}, DType::i32);
}

}  // namespace

void fill_rope_table(const Tensor& cos, const Tensor& sin, double theta) {
  check_contiguous("fill_rope_table", "cos", cos, {cos.dim(0), cos.dim(1)}, DType::f32);
  check_contiguous("fill_rope_table", "sin", sin, cos.shape(), DType::f32);
  const std::int64_t positions = cos.dim(0), half = cos.dim(1);
  auto *c = cos.as<float>(), *s = sin.as<float>();
  for (std::int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(theta, -static_cast<double>(i) / static_cast<double>(half));
    for (std::int64_t p = 0; p < positions; ++p) {
      const double angle = static_cast<double>(p) * frequency;
      c[p * half + i] = static_cast<float>(std::cos(angle));
      s[p * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void HeadNormRopeForward::check() const {
  check_shared(*this);
  check_contiguous(name, "y", y, x.shape(), x.dtype());
}

Cost HeadNormRopeForward::cost() const {
  return {.flops = (weight ? 7.0 : 3.0) * static_cast<double>(x.numel()),
          .bytes = static_cast<double>(x.bytes() + y.bytes())};
}

void HeadNormRopeForward::cpu(Context& ctx) const {
  check_indices(name, "positions", positions, cos.dim(0));
  dispatch_cpu(*this, ctx);
}

void HeadNormRopeBackward::check() const {
  check_shared(*this);
  check_contiguous(name, "dy", dy, x.shape(), x.dtype());
  check_slice(name, "dx", dx, x.shape(), x.dtype());
  HG_CHECK(bool(dweight) == bool(weight), "{}: 'dweight' and 'weight' come together or not at all",
           name);
  if (dweight) check_contiguous(name, "dweight", dweight, {x.dim(3)}, DType::f32);
}

Cost HeadNormRopeBackward::cost() const {
  return {.flops = (weight ? 14.0 : 3.0) * static_cast<double>(x.numel()),
          .bytes = static_cast<double>((weight ? 3 : 2) * x.bytes())};
}

Tensor HeadNormRopeBackward::scratch(Context& ctx) const {
  if (!weight) return {};
  const std::int64_t pieces = (x.dim(0) + kTokensPerPiece - 1) / kTokensPerPiece;
  return ctx.scratch.allocate("head norm dweight pieces", DType::f32, {pieces, x.dim(3)});
}

void HeadNormRopeBackward::cpu(Context& ctx) const {
  check_indices(name, "positions", positions, cos.dim(0));
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
