#include "ops/dispatch.h"

#include "ops/cpu/indices.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

void check_rows(std::string_view op, const ConstTensor& rows) {
  HG_CHECK(rows.rank() == 2, "{}: rows {} are no matrix, expected [T, K]", op,
           rows.shape().to_string());
  const std::int64_t k = rows.dim(1);
  HG_CHECK(1 <= k && k <= kMaxExperts, "{}: {} rows for a token, expected 1 to {}", op, k,
           kMaxExperts);
  check_contiguous(op, "rows", rows, rows.shape(), DType::i32);
}

/// With a capacity there may be fewer rows than choices.
void check_room(std::string_view op, const char* name, const ConstTensor& permuted,
                const ConstTensor& rows) {
  HG_CHECK(permuted.dim(0) <= rows.numel(), "{}: {} has {} rows, more than the {} choices", op,
           name, permuted.dim(0), rows.numel());
}

/// Checks the operands of Permute and Unpermute: `tokens` [T, H] on one side, `permuted` [R, H] on
/// the other.
void check_move(std::string_view op, const char* tokens_name, const ConstTensor& tokens,
                const char* permuted_name, const ConstTensor& permuted, const ConstTensor& rows) {
  check_rows(op, rows);
  HG_CHECK(tokens.rank() == 2, "{}: {} {} are no matrix, expected [T, H]", op, tokens_name,
           tokens.shape().to_string());
  HG_CHECK(tokens.dtype() != DType::i32, "{}: {} is i32, expected f32 or bf16", op, tokens_name);
  const std::int64_t h = tokens.dim(1);
  check_contiguous(op, tokens_name, tokens, {rows.dim(0), h}, tokens.dtype());
  check_contiguous(op, permuted_name, permuted, {permuted.dim(0), h}, tokens.dtype());
  check_room(op, permuted_name, permuted, rows);
}

/// The same of PermuteWeights and UnpermuteWeights: `choices` [T, K], `permuted` [R].
void check_weights(std::string_view op, const char* choices_name, const ConstTensor& choices,
                   const char* permuted_name, const ConstTensor& permuted,
                   const ConstTensor& rows) {
  check_rows(op, rows);
  check_contiguous(op, choices_name, choices, rows.shape(), DType::f32);
  check_contiguous(op, permuted_name, permuted, {permuted.dim(0)}, DType::f32);
  check_room(op, permuted_name, permuted, rows);
}

/// Throws unless every row is -1 or one of those that there are.
void check_places(std::string_view op, const ConstTensor& rows, const ConstTensor& permuted) {
  check_indices(op, "rows", rows, permuted.dim(0), -1);
}

Cost cost_of(const ConstTensor& to, const ConstTensor& from, const ConstTensor& rows,
             double flops) {
  return {.flops = flops, .bytes = static_cast<double>(to.bytes() + from.bytes() + rows.bytes())};
}

}  // namespace

void ExpertPlan::check() const {
  HG_CHECK(experts.rank() == 2, "{}: experts {} are no matrix, expected [T, K]", name,
           experts.shape().to_string());
  HG_CHECK(counts.rank() == 1, "{}: counts is {}, expected [E]", name, counts.shape().to_string());
  HG_CHECK(capacity >= 0, "{}: capacity is {}, expected 0 or more", name, capacity);
  check_contiguous(name, "experts", experts, experts.shape(), DType::i32);
  check_contiguous(name, "rows", rows, experts.shape(), DType::i32);
  check_contiguous(name, "counts", counts, counts.shape(), DType::i32);
  check_contiguous(name, "offsets", offsets, {counts.dim(0) + 1}, DType::i32);
  check_contiguous(name, "dropped", dropped, {1}, DType::i32);
}

Cost ExpertPlan::cost() const {
  return {.bytes = static_cast<double>(2 * experts.bytes() + rows.bytes())};
}

Tensor ExpertPlan::scratch(Context& ctx) const {
  const std::int64_t pieces = (experts.dim(0) + kTokensPerPiece - 1) / kTokensPerPiece;
  return ctx.scratch.allocate("choices of pieces", DType::i32, {pieces, counts.dim(0)});
}

void ExpertPlan::cpu(Context& ctx) const {
  check_indices(name, "experts", experts, counts.dim(0));
  dispatch_cpu(*this, ctx);
}

void Permute::check() const { check_move(name, "x", x, "y", y, rows); }

Cost Permute::cost() const { return cost_of(y, x, rows, 0); }

void Permute::cpu(Context& ctx) const {
  check_places(name, rows, y);
  dispatch_cpu(*this, ctx);
}

void Unpermute::check() const {
  check_move(name, "y", y, "x", x, rows);
  if (base) check_contiguous(name, "base", base, y.shape(), y.dtype());
  if (used) check_contiguous(name, "used", used, {1}, DType::i32);
}

Cost Unpermute::cost() const {
  Cost cost = cost_of(y, x, rows, static_cast<double>(x.numel()));
  if (base) cost.bytes += static_cast<double>(base.bytes());
  return cost;
}

void Unpermute::cpu(Context& ctx) const {
  check_places(name, rows, x);
  dispatch_cpu(*this, ctx);
}

void PermuteWeights::check() const { check_weights(name, "x", x, "y", y, rows); }

Cost PermuteWeights::cost() const { return cost_of(y, x, rows, 0); }

void PermuteWeights::cpu(Context& ctx) const {
  check_places(name, rows, y);
  dispatch_cpu(*this, ctx);
}

void UnpermuteWeights::check() const { check_weights(name, "y", y, "x", x, rows); }

Cost UnpermuteWeights::cost() const { return cost_of(y, x, rows, 0); }

void UnpermuteWeights::cpu(Context& ctx) const {
  check_places(name, rows, x);
  dispatch_cpu(*this, ctx);
}

void ArrivalPlan::check() const {
  HG_CHECK(counts.rank() == 2, "{}: 'counts' is {}, expected [ranks, experts]", name,
           counts.shape().to_string());
  check_contiguous(name, "counts", counts, counts.shape(), DType::i32);
  check_contiguous(name, "offsets", offsets, {counts.dim(1) + 1}, DType::i32);
  check_contiguous(name, "places", places, {places.dim(0), 1}, DType::i32);
}

Cost ArrivalPlan::cost() const {
  return {.flops = 0, .bytes = static_cast<double>(places.bytes() + counts.bytes())};
}

void ArrivalPlan::cpu(Context&) const {
  const std::int64_t ranks = counts.dim(0), experts = counts.dim(1);
  const auto* count = counts.as<std::int32_t>();
  auto* offset = offsets.as<std::int32_t>();
  offset[0] = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    offset[e + 1] = offset[e];
    for (std::int64_t r = 0; r < ranks; ++r) offset[e + 1] += count[r * experts + e];
  }
  HG_CHECK(offset[experts] <= places.dim(0), "{}: {} rows came, there is room for {}", name,
           offset[experts], places.dim(0));
  auto* place = places.as<std::int32_t>();
  std::int64_t row = 0;
  for (std::int64_t r = 0; r < ranks; ++r) {
    for (std::int64_t e = 0; e < experts; ++e) {
      std::int32_t to = offset[e];  // behind the rows of the ranks before
      for (std::int64_t before = 0; before < r; ++before) to += count[before * experts + e];
      for (std::int32_t i = 0; i < count[r * experts + e]; ++i) place[row++] = to + i;
    }
  }
  std::fill(place + row, place + places.dim(0), -1);
}

}  // namespace hg
