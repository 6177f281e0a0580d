#include "ops/sink.h"

#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// Checks what both passes have.
void check_attention(std::string_view op, const ConstTensor& o, const ConstTensor& lse) {
  HG_CHECK(o.rank() == 4, "{}: 'o' {} are no heads, expected [T, KV, G, D]", op,
           o.shape().to_string());
  check_slice(op, "o", o, o.shape(), o.dtype());
  check_contiguous(op, "lse", lse, {o.dim(1), o.dim(2), o.dim(0)}, DType::f32);
}

}  // namespace

void SinkForward::check() const {
  check_attention(name, o, lse);
  if (sinks) check_contiguous(name, "sinks", sinks, {o.dim(1), o.dim(2)}, o.dtype());
}

Cost SinkForward::cost() const {
  return {.flops = static_cast<double>(o.numel()) + 8.0 * static_cast<double>(lse.numel()),
          .bytes = 2.0 * static_cast<double>(o.bytes() + lse.bytes())};
}

void SinkForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void SinkBackward::check() const {
  check_attention(name, o, lse);
  check_slice(name, "d_o", d_o, o.shape(), o.dtype());
  check_contiguous(name, "sinks", sinks, {o.dim(1), o.dim(2)}, o.dtype());
  check_contiguous(name, "dsinks", dsinks, sinks.shape(), DType::f32);
}

Cost SinkBackward::cost() const {
  return {.flops = 2.0 * static_cast<double>(o.numel()) + 4.0 * static_cast<double>(lse.numel()),
          .bytes = static_cast<double>(2 * o.bytes() + lse.bytes())};
}

Tensor SinkBackward::scratch(Context& ctx) const {
  const std::int64_t pieces = (o.dim(0) + kTokensPerPiece - 1) / kTokensPerPiece;
  return ctx.scratch.allocate("sums of pieces", DType::f32, {pieces, sinks.numel()});
}

void SinkBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
