#include "ops/inspect_attention.h"

#include "core/parallel.h"
#include "ops/attention.h"
#include "ops/cpu/attention_scratch.h"
#include "ops/cpu/inspect_attention_tiles.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

void check_inputs(std::string_view op, const ConstTensor& q, const ConstTensor& k,
                  const ConstTensor& lse, const ConstTensor& documents, const ConstTensor& keys) {
  HG_CHECK(q.rank() == 4, "{}: q is {}, expected [T, KV, G, D]", op, q.shape().to_string());
  HG_CHECK(q.dtype() != DType::i32, "{}: q is i32, expected f32 or bf16", op);
  check_slice(op, "q", q, q.shape(), q.dtype());
  HG_CHECK(k.rank() == 4, "{}: k is {}, expected [S, KV, 1, D]", op, k.shape().to_string());
  check_slice(op, "k", k, {keys ? k.dim(0) : q.dim(0), q.dim(1), 1, q.dim(3)}, q.dtype());
  check_contiguous(op, "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  check_slices(op, documents, keys);
}

void check_two_of_each_head(std::string_view op, const Tensor& out, const ConstTensor& q) {
  check_contiguous(op, "out", out, {q.dim(1) * q.dim(2), 2}, DType::f32);
}

/// Scratch of a GPU: two values for each query and head.
Tensor values_of_rows(Context& ctx, const ConstTensor& q) {
  return ctx.scratch.allocate("attention values", DType::f32, {q.dim(1) * q.dim(2), q.dim(0), 2});
}

}  // namespace

void FirstTokenShare::check() const {
  check_inputs(name, q, k, lse, documents, keys);
  check_two_of_each_head(name, out, q);
  check_contiguous(name, "positions", positions, {k.dim(0)}, DType::i32);
}

Cost FirstTokenShare::cost() const {
  return {.flops = 2.0 * static_cast<double>(q.numel()), .bytes = static_cast<double>(q.bytes())};
}

Tensor FirstTokenShare::scratch(Context& ctx) const {
  if (ctx.scratch_device() == Device::cuda) return values_of_rows(ctx, q);
  const std::int64_t pieces = (q.dim(0) + kTokensPerPiece - 1) / kTokensPerPiece;
  return ctx.scratch.allocate("first token sums", DType::f32, {pieces, q.dim(1) * q.dim(2), 2});
}

void FirstTokenShare::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

void AttentionEntropy::check() const {
  check_inputs(name, q, k, lse, documents, keys);
  check_two_of_each_head(name, out, q);
  HG_CHECK(scale > 0, "{}: scale is {}, expected a positive number", name, scale);
}

Cost AttentionEntropy::cost() const {
  return {.flops = static_cast<double>(longest) * static_cast<double>(q.numel()),
          .bytes = static_cast<double>(q.bytes() + k.bytes())};
}

AttentionEntropy::Scratch AttentionEntropy::scratch(Context& ctx) const {
  if (ctx.scratch_device() == Device::cuda)
    return {.blocks = {}, .partials = values_of_rows(ctx, q)};
  const std::int64_t pieces = (q.dim(0) + kSmallestBlock - 1) / kSmallestBlock;
  return {.blocks = ctx.scratch.allocate("attention blocks", DType::f32,
                                         {num_threads(), attention_scratch(q.dim(3), 3, 2, 3)}),
          .partials = ctx.scratch.allocate("attention entropy sums", DType::f32,
                                           {q.dim(1) * q.dim(2), pieces, 2})};
}

void AttentionEntropy::cpu(Context& ctx) const {
  if (ctx.cpu.amx_bf16 && fits_tiles(q.dtype(), q.dim(3))) {
    return attention_on_tiles<Isa::avx512>(*this, ctx, TileUnit::amx);
  }
  dispatch_cpu(*this, ctx);
}

void AttentionMap::check() const {
  check_inputs(name, q, k, lse, documents, {});
  const std::int64_t tokens = q.dim(0);
  check_contiguous(name, "out", out, {q.dim(1) * q.dim(2), tokens, tokens}, DType::f32);
}

Cost AttentionMap::cost() const {
  return {.flops = static_cast<double>(q.dim(0)) * static_cast<double>(q.numel()),
          .bytes = static_cast<double>(q.bytes() + k.bytes() + out.bytes())};
}

void AttentionMap::cpu(Context& ctx) const { dispatch_cpu(*this, ctx); }

}  // namespace hg
