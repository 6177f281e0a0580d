#include "ops/attention.h"

#include "core/parallel.h"
#include "ops/cpu/attention_scratch.h"
#include "ops/cpu/attention_tiles.h"
#include "ops/cpu/isa.h"

namespace hg {
namespace {

/// What both directions take.
template <class Op>
void check_inputs(const char* name, const Op& op) {
  const ConstTensor &q = op.q, &k = op.k;
  HG_CHECK(q.rank() == 4, "{}: q is {}, expected [T, KV, G, D]", name, q.shape().to_string());
  HG_CHECK(q.dtype() != DType::i32, "{}: q is i32, expected f32 or bf16", name);
  check_contiguous(name, "q", q, q.shape(), q.dtype());
  HG_CHECK(k.rank() == 4, "{}: k is {}, expected [S, KV, 1, D]", name, k.shape().to_string());
  const Shape keys{op.keys ? k.dim(0) : q.dim(0), q.dim(1), 1, q.dim(3)};
  check_slice(name, "k", k, keys, q.dtype());
  check_slice(name, "v", op.v, keys, q.dtype());
  check_slices(name, op.documents, op.keys);
  HG_CHECK(op.scale > 0, "{}: scale is {}, expected a positive number", name, op.scale);
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

void check_slices(const char* op, const ConstTensor& documents, const ConstTensor& keys) {
  HG_CHECK(documents.rank() == 1 && documents.dim(0) >= 2, "{}: documents is {}, expected [N + 1]",
           op, documents.shape().to_string());
  check_contiguous(op, "documents", documents, documents.shape(), DType::i32);
  if (keys) check_contiguous(op, "keys", keys, {documents.dim(0) - 1, 2}, DType::i32);
}

void AttentionForward::check() const {
  check_inputs("attention_forward", *this);
  check_tensor("attention_forward", "o", o, q.shape(), q.dtype());
  check_tensor("attention_forward", "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  HG_CHECK(o.contiguous() && lse.contiguous(), "attention_forward: o and lse must be contiguous");
}

Cost AttentionForward::cost() const {
  return cost_of(q, longest, 2, static_cast<double>(2 * q.bytes() + 2 * k.bytes()));
}

AttentionForward::Scratch AttentionForward::scratch(Context& ctx) const {
  if (ctx.scratch_device() == Device::cuda) return {};
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
  check_inputs("attention_backward", *this);
  check_tensor("attention_backward", "d_o", d_o, q.shape(), q.dtype());
  check_tensor("attention_backward", "o", o, q.shape(), q.dtype());
  check_tensor("attention_backward", "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  check_tensor("attention_backward", "dq", dq, q.shape(), q.dtype());
  check_slice("attention_backward", "dk", dk, k.shape(), q.dtype());
  check_slice("attention_backward", "dv", dv, v.shape(), q.dtype());
  HG_CHECK(d_o.contiguous() && o.contiguous() && lse.contiguous() && dq.contiguous(),
           "attention_backward: d_o, o, lse and dq must be contiguous");
}

Cost AttentionBackward::cost() const {
  return cost_of(q, longest, 5, static_cast<double>(4 * q.bytes() + 4 * k.bytes()));
}

AttentionBackward::Scratch AttentionBackward::scratch(Context& ctx) const {
  if (ctx.scratch_device() == Device::cuda) {
    Scratch result;
    result.rows =
        ctx.scratch.allocate("attention rows", DType::f32, {q.dim(1), q.dim(0) * q.dim(2), 4});
    return result;
  }
  const Shape packed = packed_keys(k);
  return {.blocks = ctx.scratch.allocate("attention blocks", DType::f32,
                                         {num_threads(), attention_scratch(q.dim(3), 8, 4, 2)}),
          .k = ctx.scratch.allocate("attention k", DType::f32, packed),
          .v = ctx.scratch.allocate("attention v", DType::f32, packed),
          .dk = ctx.scratch.allocate("attention dk", DType::f32, packed),
          .dv = ctx.scratch.allocate("attention dv", DType::f32, packed),
          .order = ctx.scratch.allocate("attention documents", DType::i32, {q.dim(0), 2}),
          .rows = {}};
}

void AttentionBackward::cpu(Context& ctx) const {
  if (ctx.cpu.amx_bf16 && fits_tiles(q.dtype(), q.dim(3))) {
    return attention_on_tiles<Isa::avx512>(*this, ctx, TileUnit::amx);
  }
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
