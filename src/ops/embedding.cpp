#include "ops/embedding.h"

#include "ops/cpu/indices.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

void check_rows(std::string_view name, std::int64_t first, std::int64_t rows, std::int64_t vocab) {
  HG_CHECK(first >= 0 && first + rows <= vocab,
           "{}: the weight holds rows [{}, {}), expected rows of an embedding of {}", name, first,
           first + rows, vocab);
}

}  // namespace

void EmbeddingForward::check() const {
  const std::int64_t rows = weight.dim(0), d = weight.dim(1);
  check_contiguous(name, "weight", weight, {rows, d}, weight.dtype());
  check_contiguous(name, "tokens", tokens, {tokens.dim(0)}, DType::i32);
  check_contiguous(name, "y", y, {tokens.dim(0), d}, weight.dtype());
  check_rows(name, first, rows, vocab);
}

Cost EmbeddingForward::cost() const { return {.bytes = 2.0 * static_cast<double>(y.bytes())}; }

void EmbeddingForward::cpu(Context& ctx) const {
  check_indices(name, "tokens", tokens, vocab);
  dispatch_cpu(*this, ctx);
}

void EmbeddingBackward::check() const {
  const std::int64_t count = dy.dim(0), d = dy.dim(1);
  check_contiguous(name, "dy", dy, {count, d}, dy.dtype());
  check_contiguous(name, "tokens", tokens, {count}, DType::i32);
  check_contiguous(name, "dweight", dweight, {dweight.dim(0), d}, DType::f32);
  check_rows(name, first, dweight.dim(0), vocab);
}

Cost EmbeddingBackward::cost() const {
  const auto added = static_cast<double>(dy.numel());
  return {
      .flops = added,
      .bytes = static_cast<double>(dy.bytes() + (accumulate ? 0 : dweight.bytes())) + 8 * added};
}

void EmbeddingBackward::cpu(Context& ctx) const {
  check_indices(name, "tokens", tokens, vocab);
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
