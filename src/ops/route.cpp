#include "ops/route.h"

#include <algorithm>
#include <span>

#include "ops/cpu/indices.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// Checks what forward and backward share, and returns S.
std::int64_t check_router(std::string_view op, const ConstTensor& logits,
                          const ConstTensor& experts, const ConstTensor& documents) {
  HG_CHECK(logits.rank() == 2, "{}: logits {} are no matrix, expected [T, E]", op,
           logits.shape().to_string());
  check_contiguous(op, "logits", logits, logits.shape(), DType::f32);
  const std::int64_t count = logits.dim(1);
  HG_CHECK(1 <= count && count <= kMaxExperts, "{}: {} experts, expected 1 to {}", op, count,
           kMaxExperts);
  HG_CHECK(experts.rank() == 2, "{}: experts {} are no matrix, expected [T, K]", op,
           experts.shape().to_string());
  const std::int64_t k = experts.dim(1);
  HG_CHECK(1 <= k && k <= count, "{}: {} experts for a token, expected 1 to all {}", op, k, count);
  check_contiguous(op, "experts", experts, {logits.dim(0), k}, DType::i32);
  if (!documents) return 1;
  HG_CHECK(documents.rank() == 1 && documents.dim(0) >= 2, "{}: documents is {}, expected [S + 1]",
           op, documents.shape().to_string());
  check_contiguous(op, "documents", documents, documents.shape(), DType::i32);
  return documents.dim(0) - 1;
}

/// Throws unless the bounds ascend from 0 to `tokens`. An empty document is allowed.
void check_bounds(std::string_view op, const ConstTensor& documents, std::int64_t tokens) {
  const std::span bounds(documents.as<std::int32_t>(), static_cast<std::size_t>(documents.dim(0)));
  HG_CHECK(bounds.front() == 0 && bounds.back() == tokens && std::ranges::is_sorted(bounds),
           "{}: documents begin at {} and end at {}, expected ascending bounds from 0 to {}", op,
           bounds.front(), bounds.back(), tokens);
}

}  // namespace

void RouterForward::check() const {
  const std::int64_t segments = check_router(name, logits, experts, documents);
  const Shape sums{segments, logits.dim(1)};
  check_contiguous(name, "weights", weights, experts.shape(), DType::f32);
  check_contiguous(name, "counts", counts, sums, DType::i32);
  check_contiguous(name, "probability_sums", probability_sums, sums, DType::f32);
  check_contiguous(name, "statistics", statistics, {kStatistics}, DType::f32);
  if (bias) check_contiguous(name, "bias", bias, {logits.dim(1)}, DType::f32);
}

Cost RouterForward::cost() const {
  const auto compared = static_cast<double>(experts.dim(1) * logits.numel());
  return {.flops = compared + 8.0 * static_cast<double>(logits.numel()),
          .bytes = static_cast<double>(logits.bytes() + weights.bytes() + experts.bytes())};
}

RouterForward::Scratch RouterForward::scratch(Context& ctx) const {
  const Shape sums{logits.dim(0) / kTokensPerPiece + counts.dim(0), logits.dim(1)};
  return {.counts = ctx.scratch.allocate("router counts", DType::i32, sums),
          .probability_sums = ctx.scratch.allocate("router sums", DType::f32, sums),
          .statistics = ctx.scratch.allocate("router statistics", DType::f32,
                                             {sums[0], static_cast<std::int64_t>(kStatistics)})};
}

void RouterForward::cpu(Context& ctx) const {
  if (documents) check_bounds(name, documents, logits.dim(0));
  dispatch_cpu(*this, ctx);
}

void RouterBackward::check() const {
  const std::int64_t segments = check_router(name, logits, experts, documents);
  check_contiguous(name, "dweights", dweights, experts.shape(), DType::f32);
  check_contiguous(name, "dlogits", dlogits, logits.shape(), DType::f32);
  if (balance) {
    check_contiguous(name, "balance", balance, {segments, logits.dim(1)}, DType::f32);
  }
}

Cost RouterBackward::cost() const {
  return {.flops = 16.0 * static_cast<double>(logits.numel()),
          .bytes = static_cast<double>(2 * (logits.bytes() + dweights.bytes()))};
}

void RouterBackward::cpu(Context& ctx) const {
  if (documents) check_bounds(name, documents, logits.dim(0));
  check_indices(name, "experts", experts, logits.dim(1));
  dispatch_cpu(*this, ctx);
}

void RouterLoads::check() const {
  HG_CHECK(counts.rank() == 2, "{}: counts {} are no matrix, expected [S, E]", name,
           counts.shape().to_string());
  check_contiguous(name, "counts", counts, counts.shape(), DType::i32);
  check_contiguous(name, "loads", loads, {counts.dim(1)}, DType::i32);
}

Cost RouterLoads::cost() const {
  return {.flops = static_cast<double>(counts.numel()),
          .bytes = static_cast<double>(counts.bytes() + 2 * loads.bytes())};
}

void RouterLoads::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void RouterBalance::check() const {
  HG_CHECK(counts.rank() == 2, "{}: counts {} are no matrix, expected [S, E]", name,
           counts.shape().to_string());
  check_contiguous(name, "counts", counts, counts.shape(), DType::i32);
  check_contiguous(name, "balance", balance, counts.shape(), DType::f32);
}

Cost RouterBalance::cost() const {
  return {.flops = 2.0 * static_cast<double>(counts.numel()),
          .bytes = static_cast<double>(2 * counts.bytes() + balance.bytes())};
}

void RouterBalance::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void RouterBiasUpdate::check() const {
  HG_CHECK(bias.rank() == 1, "{}: bias is {}, expected [E]", name, bias.shape().to_string());
  check_contiguous(name, "bias", bias, bias.shape(), DType::f32);
  check_contiguous(name, "loads", loads, bias.shape(), DType::i32);
}

Cost RouterBiasUpdate::cost() const {
  return {.flops = 4.0 * static_cast<double>(bias.numel()),
          .bytes = static_cast<double>(2 * bias.bytes() + loads.bytes())};
}

void RouterBiasUpdate::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
