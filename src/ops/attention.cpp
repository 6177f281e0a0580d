#include "ops/attention.h"

#include <algorithm>
#include <bit>

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

/// Bytes on a GPU for cuDNN's workspace and for what it wants in another layout than the op has it:
/// more than its plans for these shapes take, but for those that keep a bf16 for every pair of a
/// query and a key. They may if that is half a gigabyte at most (docs/cuda.md).
std::int64_t library_bytes(const ConstTensor& q, const ConstTensor& documents, std::int64_t longest,
                           bool backward) {
  if (q.dtype() != DType::bf16) return 0;
  const auto power_of_two = [](std::int64_t x) {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x)));
  };
  constexpr std::int64_t kAlways = 1 << 20, kDocument = 4 << 10, kPairs = 512 << 20;
  const std::int64_t rows = q.dim(0) * q.dim(1) * q.dim(2);
  const std::int64_t bytes = kAlways + kDocument * power_of_two(documents.dim(0)) + 4 * rows;
  if (!backward) return bytes;
  return bytes + rows * (16 * q.dim(3) + 16) + std::min(kPairs, 2 * rows * power_of_two(longest));
}

Tensor library_scratch(Context& ctx, const ConstTensor& q, const ConstTensor& documents,
                       std::int64_t longest, bool backward) {
  const std::int64_t bytes = library_bytes(q, documents, longest, backward);
  if (bytes == 0) return {};
  return ctx.scratch.allocate("attention by cuDNN", DType::f32, {bytes / 4});
}

}  // namespace

void check_slices(std::string_view op, const ConstTensor& documents, const ConstTensor& keys) {
  HG_CHECK(documents.rank() == 1 && documents.dim(0) >= 2, "{}: documents is {}, expected [N + 1]",
           op, documents.shape().to_string());
  check_contiguous(op, "documents", documents, documents.shape(), DType::i32);
  if (keys) check_contiguous(op, "keys", keys, {documents.dim(0) - 1, 2}, DType::i32);
}

void AttentionForward::check() const {
  check_inputs("attention_forward", *this);
  check_tensor(name, "o", o, q.shape(), q.dtype());
  check_tensor(name, "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  HG_CHECK(o.contiguous() && lse.contiguous(), "attention_forward: o and lse must be contiguous");
}

Cost AttentionForward::cost() const {
  return cost_of(q, longest, 2, static_cast<double>(2 * q.bytes() + 2 * k.bytes()));
}

AttentionForward::Scratch AttentionForward::scratch(Context& ctx) const {
  if (ctx.scratch_device() == Device::cuda) {
    Scratch result;
    if (!keys) result.library = library_scratch(ctx, q, documents, longest, false);
    return result;
  }
  const Shape packed = packed_keys(k);
  return {.blocks = ctx.scratch.allocate("attention blocks", DType::f32,
                                         {num_threads(), attention_scratch(q.dim(3), 5, 2, 3)}),
          .k = ctx.scratch.allocate("attention k", DType::f32, packed),
          .v = ctx.scratch.allocate("attention v", DType::f32, packed),
          .library = {}};
}

void AttentionForward::cpu(Context& ctx) const {
  if (ctx.cpu.amx_bf16 && fits_tiles(q.dtype(), q.dim(3))) {
    return attention_on_tiles<Isa::avx512>(*this, ctx, TileUnit::amx);
  }
  dispatch_cpu(*this, ctx);
}

void AttentionBackward::check() const {
  check_inputs("attention_backward", *this);
  check_tensor(name, "d_o", d_o, q.shape(), q.dtype());
  check_tensor(name, "o", o, q.shape(), q.dtype());
  check_tensor(name, "lse", lse, {q.dim(1), q.dim(2), q.dim(0)}, DType::f32);
  check_tensor(name, "dq", dq, q.shape(), q.dtype());
  check_slice(name, "dk", dk, k.shape(), q.dtype());
  check_slice(name, "dv", dv, v.shape(), q.dtype());
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
    if (!keys) result.library = library_scratch(ctx, q, documents, longest, true);
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
          .rows = {},
          .library = {}};
}

void AttentionBackward::cpu(Context& ctx) const {
  if (ctx.cpu.amx_bf16 && fits_tiles(q.dtype(), q.dim(3))) {
    return attention_on_tiles<Isa::avx512>(*this, ctx, TileUnit::amx);
  }
  dispatch_cpu(*this, ctx);
}

}  // namespace hg
