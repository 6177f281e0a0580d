#include "ops/norm.h"

#include "ops/cpu/isa.h"

namespace hg {

void RmsNormForward::check() const {
  const DType dtype = x.dtype();
  check_tensor(name, "weight", weight, {x.dim(1)}, dtype);
  check_tensor(name, "y", y, x.shape(), dtype);
  check_tensor(name, "rstd", rstd, {x.dim(0)}, DType::f32);
}

Cost RmsNormForward::cost() const {
  return {.flops = 4.0 * static_cast<double>(x.numel()),
          .bytes = static_cast<double>(x.bytes() + y.bytes())};
}

void RmsNormForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void AddRmsNormForward::check() const {
  const DType dtype = x.dtype();
  check_tensor(name, "delta", delta, x.shape(), dtype);
  check_tensor(name, "weight", weight, {x.dim(1)}, dtype);
  check_tensor(name, "sum", sum, x.shape(), dtype);
  check_tensor(name, "y", y, x.shape(), dtype);
  check_tensor(name, "rstd", rstd, {x.dim(0)}, DType::f32);
}

Cost AddRmsNormForward::cost() const {
  return {.flops = 5.0 * static_cast<double>(x.numel()),
          .bytes = 4.0 * static_cast<double>(x.bytes())};
}

void AddRmsNormForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void RmsNormBackward::check() const {
  const DType dtype = x.dtype();
  check_tensor(name, "dy", dy, x.shape(), dtype);
  check_tensor(name, "dx", dx, x.shape(), dtype);
  check_tensor(name, "rstd", rstd, {x.dim(0)}, DType::f32);
  check_tensor(name, "weight", weight, {x.dim(1)}, dtype);
  check_tensor(name, "dweight", dweight, {x.dim(1)}, DType::f32);
  if (dresidual) check_tensor(name, "dresidual", dresidual, x.shape(), dtype);
}

Cost RmsNormBackward::cost() const {
  return {.flops = 8.0 * static_cast<double>(x.numel()),
          .bytes = (dresidual ? 4.0 : 3.0) * static_cast<double>(x.bytes())};
}

Tensor RmsNormBackward::scratch(Context& ctx) const {
  const std::int64_t pieces = (x.dim(0) + kRowsPerPiece - 1) / kRowsPerPiece;
  return ctx.scratch.allocate("norm dweight pieces", DType::f32, {pieces, x.dim(1)});
}

void RmsNormBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
