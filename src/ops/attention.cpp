#include "ops/attention.h"

#include "core/parallel.h"
#include "ops/cpu/attention_scratch.h"
#include "ops/cpu/attention_tiles.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

void check_inputs(const char* op, const ConstTensor& q, const ConstTensor& k, const ConstTensor& v,
                  const ConstTensor& documents, float scale) {
  HG_CHECK(q.rank() == 4, "{}: q is {}, expected [T, KV, G, D]", op, q.shape().to_string());
  const Shape keys{q.dim(0), q.dim(1), 1, q.dim(3)};
  check_tensor(op, "k", k, keys, q.dtype());
  check_tensor(op, "v", v, keys, q.dtype());
  HG_CHECK(q.dtype() != DType::i32, "{}: q is i32, expected f32 or bf16", op);
  HG_CHECK(q.contiguous() && k.contiguous(), "{}: q and k must be contiguous", op);
  HG_CHECK(v.stride(3) == 1, "{}: v has stride {} along D, expected 1", op, v.stride(3));
  HG_CHECK(documents.rank() == 1 && documents.dim(0) >= 2, "{}: documents is {}, expected [N + 1]",
           op, documents.shape().to_string());
  check_tensor(op, "documents", documents, documents.shape(), DType::i32);
  HG_CHECK(scale > 0, "{}: scale is {}, expected a positive number", op, scale);
}

/// Multiply-adds count as two; every product touches half of each document's square.
Cost cost_of(const ConstTensor& q, std::int64_t longest, double products, double bytes) {
  return {.flops = products * static_cast<double>(longest) * static_cast<double>(q.numel()),
          .bytes = bytes};
}

/// All heads' keys or values one behind the other, and the rows by which the last block may be read
/// over.
Shape packed_keys(const ConstTensor& k) {
  return {k.dim(0) * k.dim(1) + kAttentionReadOver, padded_head(k.dim(3))};
}

}  // namespace

void AttentionForward::check() const {
  check_inputs("attention_forward", q, k, v, documents, scale);
  check_tensor("attention_forward", "o", o, q.shape(), q.dtype());
  check_tensor("attention_forward", "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  HG_CHECK(o.contiguous() && lse.contiguous(), "attention_forward: o and lse must be contiguous");
}

Cost AttentionForward::cost() const {
  return cost_of(q, longest, 2, static_cast<double>(2 * q.bytes() + 2 * k.bytes()));
}

AttentionForward::Scratch AttentionForward::scratch(Context& ctx) const {
  const Shape packed = packed_keys(k);
  return {.blocks = ctx.scratch.allocate("attention blocks", DType::f32,
                                         {num_threads(), attention_scratch(q.dim(3), 5, 2, 3)}),
          .k = ctx.scratch.allocate("attention k", DType::f32, packed),
          .v = ctx.scratch.allocate("attention v", DType::f32, packed)};
}

void AttentionForward::cpu(Context& ctx) const {
  if (ctx.cpu.amx_bf16 && fits_tiles(q.dtype(), q.dim(3))) {
    return attention_on_tiles<Isa::avx512>(*this, ctx, TileUnit::amx);
  }
  dispatch_cpu(*this, ctx);
}

void AttentionBackward::check() const {
  check_inputs("attention_backward", q, k, v, documents, scale);
  check_tensor("attention_backward", "d_o", d_o, q.shape(), q.dtype());
  check_tensor("attention_backward", "o", o, q.shape(), q.dtype());
  check_tensor("attention_backward", "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  check_tensor("attention_backward", "dq", dq, q.shape(), q.dtype());
  check_tensor("attention_backward", "dk", dk, k.shape(), q.dtype());
  check_tensor("attention_backward", "dv", dv, v.shape(), q.dtype());
  HG_CHECK(
      d_o.contiguous() && o.contiguous() && lse.contiguous() && dq.contiguous() && dk.contiguous(),
      "attention_backward: d_o, o, lse, dq and dk must be contiguous");
  HG_CHECK(dv.stride(3) == 1, "attention_backward: dv has stride {} along D, expected 1",
           dv.stride(3));
}

Cost AttentionBackward::cost() const {
  return cost_of(q, longest, 5, static_cast<double>(4 * q.bytes() + 4 * k.bytes()));
}

AttentionBackward::Scratch AttentionBackward::scratch(Context& ctx) const {
  const Shape packed = packed_keys(k);
  return {.blocks = ctx.scratch.allocate("attention blocks", DType::f32,
                                         {num_threads(), attention_scratch(q.dim(3), 8, 4, 2)}),
          .k = ctx.scratch.allocate("attention k", DType::f32, packed),
          .v = ctx.scratch.allocate("attention v", DType::f32, packed),
          .dk = ctx.scratch.allocate("attention dk", DType::f32, packed),
          .dv = ctx.scratch.allocate("attention dv", DType::f32, packed),
          .order = ctx.scratch.allocate("attention documents", DType::i32, {q.dim(0)})};
}

void AttentionBackward::cpu(Context& ctx) const {
  if (ctx.cpu.amx_bf16 && fits_tiles(q.dtype(), q.dim(3))) {
    return attention_on_tiles<Isa::avx512>(*this, ctx, TileUnit::amx);
  }
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
