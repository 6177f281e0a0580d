#include "ops/inspect_gate.h"

#include "ops/cpu/isa.h"
#include "ops/cpu/radix_select.h"

namespace hg {

void GateScores::check() const {
  HG_CHECK(logits.rank() == 4, "{}: logits is {}, expected [T, KV, G, E]", name,
           logits.shape().to_string());
  HG_CHECK(logits.dtype() != DType::i32, "{}: logits is i32, expected f32 or bf16", name);
  HG_CHECK(logits.numel() > 0 && logits.numel() < std::int64_t{1} << 31,
           "{}: logits is {}, expected from 1 to 2^31 - 1 elements", name,
           logits.shape().to_string());
  const std::int64_t count = logits.dim(1) * logits.dim(2);
  check_contiguous(name, "heads", heads, {count + 1, kStatistics}, DType::f32);
  check_contiguous(name, "histogram", histogram, {count, kBins}, DType::f32);
  check_contiguous(name, "tokens", tokens, {logits.dim(0)}, DType::f32);
}

Cost GateScores::cost() const {
  return {.flops = 5.0 * static_cast<double>(logits.numel()),
          .bytes = static_cast<double>(logits.bytes())};
}

GateScores::Scratch GateScores::scratch(Context& ctx) const {
  const std::int64_t count = logits.dim(1) * logits.dim(2), tokens_count = logits.dim(0);
  // A tree follows what its head wants, and what all heads together do.
  const std::int64_t tree = RadixTree::size(2 * kWantedKeys);
  const auto take = [&](std::string_view label, DType dtype, const Shape& shape) {
    return ctx.scratch.allocate(label, dtype, shape);
  };
  return {.scores = take("gate scores", DType::f32, {count, tokens_count * logits.dim(3)}),
          .ranges = take("gate score ranges", DType::f32, {count, 2}),
          .tokens = take("gate score sums", DType::f32, {count, tokens_count}),
          .trees = take("gate score counts", DType::i32, {count, tree}),
          .wanted = take("gate score ranks", DType::i32, {count + 1, kWantedKeys, 2}),
          .kept = take("gate score ranks", DType::i32, {count})};
}

void GateScores::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
