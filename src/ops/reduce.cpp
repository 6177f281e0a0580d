#include "ops/reduce.h"

#include "ops/cpu/isa.h"

namespace hg {

void SumTokens::check() const {
  HG_CHECK(x.rank() == 2, "{}: x {} is no matrix", name, x.shape().to_string());
  check_slice(name, "x", x, x.shape(), x.dtype());
  check_contiguous(name, "dparam", dparam, {x.dim(1)}, DType::f32);
}

Cost SumTokens::cost() const {
  return {.flops = static_cast<double>(x.numel()), .bytes = static_cast<double>(x.bytes())};
}

Tensor SumTokens::scratch(Context& ctx) const {
  const std::int64_t pieces = (x.dim(0) + kTokensPerPiece - 1) / kTokensPerPiece;
  return ctx.scratch.allocate("sums of pieces", DType::f32, {pieces, x.dim(1)});
}

void SumTokens::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

namespace {

/// Checks x, [T, KV, G, E], and its sum over heads.
void check_heads_and_sum(std::string_view op, const ConstTensor& x, const char* sum_name,
                         const ConstTensor& sum) {
  HG_CHECK(x.rank() == 4, "{}: 'x' {} are no heads, expected [T, KV, G, E]", op,
           x.shape().to_string());
  check_slice(op, "x", x, x.shape(), x.dtype());
  check_slice(op, sum_name, sum, {x.dim(0), 1, 1, x.dim(3)}, x.dtype());
}

}  // namespace

void SumHeadsForward::check() const { check_heads_and_sum(name, x, "y", y); }

Cost SumHeadsForward::cost() const {
  return {.flops = 5.0 * static_cast<double>(x.numel()),
          .bytes = static_cast<double>(x.bytes() + y.bytes())};
}

void SumHeadsForward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void SumHeadsBackward::check() const {
  check_heads_and_sum(name, x, "dy", dy);
  check_slice(name, "dx", dx, x.shape(), x.dtype());
}

Cost SumHeadsBackward::cost() const {
  return {.flops = 8.0 * static_cast<double>(x.numel()),
          .bytes = static_cast<double>(2 * x.bytes() + dy.bytes())};
}

void SumHeadsBackward::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
