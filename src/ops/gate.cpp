#include "ops/gate.h"

#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// [T, KV, G, E] that belongs to heads [T, KV, G, D]: E must be D, or 1 for headwise gates.
Shape logits_shape(const char* op, const ConstTensor& logits, const Shape& heads) {
  const std::int64_t e = logits.dim(3), d = heads[3];
  HG_CHECK(heads.rank() == 4 && (e == d || e == 1),
           "{}: 'logits' {} gate heads {}, expected as many in the last axis, or 1", op,
           logits.shape().to_string(), heads.to_string());
  return heads.with(3, e);
}

}  // namespace

void GateForward::check() const {
  check_contiguous(name.data(), "o", o, o.shape(), o.dtype());
  check_contiguous(name.data(), "y", y, o.shape(), o.dtype());
  const Shape shape = logits_shape(name.data(), logits, o.shape());
  check_slice(name.data(), "logits", logits, shape, o.dtype());
}

Cost GateForward::cost() const {
  return {.flops = static_cast<double>(o.numel()) + 4.0 * static_cast<double>(logits.numel()),
          .bytes = static_cast<double>(y.bytes() + o.bytes() + logits.bytes())};
}

void GateForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void GateBackward::check() const {
  check_contiguous(name.data(), "o", o, o.shape(), o.dtype());
  check_contiguous(name.data(), "dy", dy, o.shape(), o.dtype());
  check_contiguous(name.data(), "d_o", d_o, o.shape(), o.dtype());
  const Shape shape = logits_shape(name.data(), logits, o.shape());
  check_slice(name.data(), "logits", logits, shape, o.dtype());
  check_slice(name.data(), "dlogits", dlogits, shape, o.dtype());
}

Cost GateBackward::cost() const {
  return {.flops = 3.0 * static_cast<double>(o.numel()) + 6.0 * static_cast<double>(logits.numel()),
          .bytes = static_cast<double>(3 * o.bytes() + 2 * logits.bytes())};
}

void GateBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
