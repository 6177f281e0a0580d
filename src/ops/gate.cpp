#include "ops/gate.h"

#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// [T, KV, G, E] that belongs to heads [T, KV, G, D]: E must be D, or 1 for headwise gates.
Shape logits_shape(std::string_view op, const ConstTensor& logits, const Shape& heads) {
  HG_CHECK(logits.rank() == 4 && (logits.dim(3) == heads[3] || logits.dim(3) == 1),
           "{}: 'logits' {} gate heads {}, expected as many in the last axis, or 1", op,
           logits.shape().to_string(), heads.to_string());
  return heads.with(3, logits.dim(3));
}

void check_heads(std::string_view op, const ConstTensor& x) {
  HG_CHECK(x.rank() == 4, "{}: 'x' {} are no heads, expected [T, KV, G, D]", op,
           x.shape().to_string());
}

}  // namespace

void GateForward::check() const {
  check_heads(name, x);
  check_slice(name, "x", x, x.shape(), x.dtype());
  check_slice(name, "y", y, x.shape(), x.dtype());
  if (logits) check_slice(name, "logits", logits, logits_shape(name, logits, x.shape()), x.dtype());
}

Cost GateForward::cost() const {
  const ConstTensor& z = logits ? logits : x;
  return {.flops = static_cast<double>(x.numel()) + 4.0 * static_cast<double>(z.numel()),
          .bytes = static_cast<double>(y.bytes() + x.bytes() + logits.bytes())};
}

void GateForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void GateBackward::check() const {
  check_heads(name, x);
  check_slice(name, "x", x, x.shape(), x.dtype());
  check_slice(name, "dy", dy, x.shape(), x.dtype());
  check_slice(name, "dx", dx, x.shape(), x.dtype());
  HG_CHECK(static_cast<bool>(logits) == static_cast<bool>(dlogits),
           "{}: 'logits' and 'dlogits' are given or absent together", name);
  if (!logits) return;
  const Shape shape = logits_shape(name, logits, x.shape());
  check_slice(name, "logits", logits, shape, x.dtype());
  check_slice(name, "dlogits", dlogits, shape, x.dtype());
}

Cost GateBackward::cost() const {
  const ConstTensor& z = logits ? logits : x;
  return {.flops = 3.0 * static_cast<double>(x.numel()) + 6.0 * static_cast<double>(z.numel()),
          .bytes = static_cast<double>(3 * x.bytes() + 2 * logits.bytes())};
}

void GateBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
