#include "ops/dispatch.h"

#include <algorithm>
#include <span>

#include "ops/cpu/indices.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// Checks tokens [T, H] against their rows [R, H], by the plan's `rows` [T, K].
void check_rows(std::string_view op, const char* tokens_name, const ConstTensor& tokens,
                const char* rows_name, const ConstTensor& permuted, const ConstTensor& rows) {
  HG_CHECK(tokens.rank() == 2, "{}: {} {} are no matrix, expected [T, H]", op, tokens_name,
           tokens.shape().to_string());
  HG_CHECK(tokens.dtype() != DType::i32, "{}: {} is i32, expected f32 or bf16", op, tokens_name);
  HG_CHECK(rows.rank() == 2, "{}: rows {} are no matrix, expected [T, K]", op,
           rows.shape().to_string());
  const std::int64_t t = tokens.dim(0), k = rows.dim(1);
  HG_CHECK(1 <= k && k <= kMaxExperts, "{}: {} rows for a token, expected 1 to {}", op, k,
           kMaxExperts);
  check_contiguous(op.data(), "rows", rows, {t, k}, DType::i32);
  check_contiguous(op.data(), tokens_name, tokens, tokens.shape(), tokens.dtype());
  check_contiguous(op.data(), rows_name, permuted, {t * k, tokens.dim(1)}, tokens.dtype());
}

/// Throws unless every row is -1 or one of the `limit` there are.
void check_places(std::string_view op, const ConstTensor& rows, std::int64_t limit) {
  const std::span places(rows.as<std::int32_t>(), static_cast<std::size_t>(rows.numel()));
  const auto bad = std::ranges::find_if(places, [&](auto row) { return row < -1 || row >= limit; });
  HG_CHECK(bad == places.end(), "{}: rows[{}] is {}, expected -1 or a value in [0, {})", op,
           bad - places.begin(), *bad, limit);
}

/// Tokens are crossed once, rows `times`.
Cost moved(const ConstTensor& tokens, const ConstTensor& permuted, double flops, double times) {
  return {
      .flops = flops * static_cast<double>(permuted.numel()),
      .bytes = static_cast<double>(tokens.bytes()) + times * static_cast<double>(permuted.bytes())};
}

}  // namespace

void ExpertPlan::check() const {
  HG_CHECK(experts.rank() == 2, "{}: experts {} are no matrix, expected [T, K]", name,
           experts.shape().to_string());
  HG_CHECK(counts.rank() == 1, "{}: counts is {}, expected [E]", name, counts.shape().to_string());
  HG_CHECK(capacity >= 0, "{}: capacity is {}, expected 0 or more", name, capacity);
  check_contiguous(name.data(), "experts", experts, experts.shape(), DType::i32);
  check_contiguous(name.data(), "rows", rows, experts.shape(), DType::i32);
  check_contiguous(name.data(), "counts", counts, counts.shape(), DType::i32);
  check_contiguous(name.data(), "offsets", offsets, {counts.dim(0) + 1}, DType::i32);
  check_contiguous(name.data(), "dropped", dropped, {1}, DType::i32);
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

void PermuteForward::check() const { check_rows(name, "x", x, "y", y, rows); }

Cost PermuteForward::cost() const { return moved(x, y, 0, 1); }

void PermuteForward::cpu(Context& ctx) const {
  check_places(name, rows, y.dim(0));
  dispatch_cpu(*this, ctx);
}

void PermuteBackward::check() const { check_rows(name, "dx", dx, "dy", dy, rows); }

Cost PermuteBackward::cost() const { return moved(dx, dy, 1, 1); }

void PermuteBackward::cpu(Context& ctx) const {
  check_places(name, rows, dy.dim(0));
  dispatch_cpu(*this, ctx);
}

void CombineForward::check() const {
  check_rows(name, "y", y, "x", x, rows);
  check_contiguous(name.data(), "weights", weights, rows.shape(), DType::f32);
}

Cost CombineForward::cost() const { return moved(y, x, 2, 1); }

void CombineForward::cpu(Context& ctx) const {
  check_places(name, rows, x.dim(0));
  dispatch_cpu(*this, ctx);
}

void CombineBackward::check() const {
  check_rows(name, "dy", dy, "x", x, rows);
  check_contiguous(name.data(), "dx", dx, x.shape(), x.dtype());
  check_contiguous(name.data(), "weights", weights, rows.shape(), DType::f32);
  check_contiguous(name.data(), "dweights", dweights, rows.shape(), DType::f32);
}

Cost CombineBackward::cost() const { return moved(dy, x, 3, 2); }

void CombineBackward::cpu(Context& ctx) const {
  check_places(name, rows, x.dim(0));
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
