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
  check_contiguous(name.data(), "heads", heads, {count + 1, kStatistics}, DType::f32);
  check_contiguous(name.data(), "histogram", histogram, {count, kBins}, DType::f32);
  check_contiguous(name.data(), "tokens", tokens, {logits.dim(0)}, DType::f32);
}

Cost GateScores::cost() const {
  const auto passes = static_cast<double>(RadixTree::kLevels);
  return {.flops = passes * 4.0 * static_cast<double>(logits.numel()),
          .bytes = passes * static_cast<double>(logits.bytes())};
}

GateScores::Scratch GateScores::scratch(Context& ctx) const {
  const std::int64_t count = logits.dim(1) * logits.dim(2);
  // A tree follows what its head wants, and what all heads together do.
  const std::int64_t tree = RadixTree::size(2 * kWantedKeys);
  return {
      .trees = ctx.scratch.allocate("gate score counts", DType::i32, {count, tree}),
      .wanted = ctx.scratch.allocate("gate score ranks", DType::i32, {count + 1, kWantedKeys, 2}),
      .tokens = ctx.scratch.allocate("gate score sums", DType::f32, {count, logits.dim(0)})};
}

void GateScores::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
