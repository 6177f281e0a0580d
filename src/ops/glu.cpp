#include "ops/glu.h"

#include "ops/cpu/isa.h"

namespace hg {

void SwiGluForward::check() const {
  const std::int64_t tokens = y.dim(0), f = y.dim(1);
  check_contiguous(name, "y", y, {tokens, f}, y.dtype());
  check_contiguous(name, "x", x, {tokens, 2 * f}, y.dtype());
  if (weights) check_contiguous(name, "weights", weights, {tokens}, DType::f32);
  if (used) check_contiguous(name, "used", used, {1}, DType::i32);
}

Cost SwiGluForward::cost() const {
  return {.flops = 7.0 * static_cast<double>(y.numel()),
          .bytes = static_cast<double>(x.bytes() + y.bytes())};
}

void SwiGluForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void SwiGluBackward::check() const {
  const std::int64_t tokens = dy.dim(0), f = dy.dim(1);
  check_contiguous(name, "dy", dy, {tokens, f}, dy.dtype());
  check_contiguous(name, "x", x, {tokens, 2 * f}, dy.dtype());
  check_contiguous(name, "dx", dx, {tokens, 2 * f}, dy.dtype());
  HG_CHECK(static_cast<bool>(dweights) == static_cast<bool>(weights),
           "{}: weights {}, expected them and their gradient, or neither", name,
           weights ? "come without their gradient" : "are absent, their gradient is not");
  if (used) check_contiguous(name, "used", used, {1}, DType::i32);
  if (!weights) return;
  check_contiguous(name, "weights", weights, {tokens}, DType::f32);
  check_contiguous(name, "dweights", dweights, {tokens}, DType::f32);
}

Cost SwiGluBackward::cost() const {
  return {.flops = 15.0 * static_cast<double>(dy.numel()),
          .bytes = static_cast<double>(dy.bytes() + x.bytes() + dx.bytes())};
}

void SwiGluBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
