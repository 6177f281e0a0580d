#include "model/attention.h"

#include <cmath>

#include "ops/attention.h"
#include "ops/cached_attention.h"
#include "ops/gate.h"
#include "ops/linear.h"
#include "ops/optimizer.h"
#include "ops/rope.h"

namespace hg {

Attention::Attention(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : kv_(config.num_key_value_heads),
      group_(config.heads_per_group()),
      d_(config.head_dim),
      gate_(config.gate_width()),
      eps_(static_cast<float>(config.rms_norm_eps)),
      scale_(1.0F / std::sqrt(static_cast<float>(config.head_dim))),
      qk_norm_(config.attention.qk_norm) {
  const std::int64_t h = config.hidden_size, heads = kv_ * group_;
  const auto std = static_cast<float>(config.initializer_range);
  qkvg_ = store.add({.name = prefix + ".qkvg.weight",
                     .shape = {kv_ * group_width(), h},
                     .decay = true,
                     .parts = {{"attention", (group_ + 2) * d_ * h, Init::normal(std)},
                               {"gate", group_ * gate_ * h, Init::normal(std)}},
                     .repeats = kv_});
  if (qk_norm_) {
    const auto head_norm = [&](const char* name) {
      return store.add({.name = prefix + name,
                        .shape = {d_},
                        .decay = false,
                        .parts = {{"norm", d_, Init::ones()}}});
    };
    q_norm_ = head_norm(".q_norm.weight");
    k_norm_ = head_norm(".k_norm.weight");
  }
  out_ = store.add({.name = prefix + ".out.weight",
                    .shape = {h, heads * d_},
                    .decay = true,
                    .parts = {{"attention", heads * d_ * h, Init::normal(config.output_std())}}});
}

template <class AnyTensor>
QkvgParts<AnyTensor> Attention::parts(const AnyTensor& qkvg) const {
  const AnyTensor groups = qkvg.split(1, kv_, group_width());
  std::int64_t at = 0;
  const auto take = [&](std::int64_t heads, std::int64_t width) {
    const AnyTensor part = groups.slice(2, at, at + heads * width).split(2, heads, width);
    at += heads * width;
    return part;
  };
  QkvgParts<AnyTensor> result;
  result.q = take(group_, d_);
  result.k = take(1, d_);
  result.v = take(1, d_);
  if (gate_ > 0) result.gate = take(group_, gate_);
  return result;
}

void Attention::rotate(Context& ctx, const Weights& w, ConstTensor positions, const RopeTable& rope,
                       const QkvgParts<ConstTensor>& from, const Saved& s) const {
  const auto head_norm_rope = [&](Tensor y, Tensor rstd, ConstTensor x, ParamId norm) {
    run(ctx, HeadNormRopeForward{.y = y,
                                 .rstd = rstd,
                                 .x = x,
                                 .weight = qk_norm_ ? w[norm] : ConstTensor{},
                                 .cos = rope.cos,
                                 .sin = rope.sin,
                                 .positions = positions,
                                 .eps = eps_});
  };
  head_norm_rope(s.q, s.q_rstd, from.q, q_norm_);
  head_norm_rope(s.k, s.k_rstd, from.k, k_norm_);
}

void Attention::forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                        ConstTensor x, Tensor y, Saved& s, Keep keep) const {
  const std::int64_t t = x.dim(0);
  const DType dtype = x.dtype();
  if (keep.make(ctx, Effort::matmul, s.qkvg, "qkvg", dtype, {t, kv_ * group_width()})) {
    run(ctx, LinearForward{.y = s.qkvg, .x = x, .weight = w[qkvg_]});
  }
  const auto from = parts<ConstTensor>(s.qkvg);
  if (keep.make(ctx, Effort::cheap, s.q, "rotated q", dtype, {t, kv_, group_, d_})) {
    keep.make(ctx, Effort::cheap, s.k, "rotated k", dtype, {t, kv_, 1, d_});
    if (qk_norm_) {
      keep.make(ctx, Effort::cheap, s.q_rstd, "head rstd", DType::f32, {t, kv_, group_});
      keep.make(ctx, Effort::cheap, s.k_rstd, "head rstd", DType::f32, {t, kv_, 1});
    }
    rotate(ctx, w, batch.positions, rope, from, s);
  }
  if (keep.make(ctx, Effort::matmul, s.o, "attention output", dtype, {t, kv_, group_, d_})) {
    keep.make(ctx, Effort::matmul, s.lse, "logsumexp", DType::f32, {kv_, group_, t});
    run(ctx, AttentionForward{.o = s.o,
                              .lse = s.lse,
                              .q = s.q,
                              .k = s.k,
                              .v = from.v,
                              .documents = batch.documents,
                              .longest = batch.longest,
                              .scale = scale_});
  }
  if (gate_ == 0) {
    s.gated = s.o;
  } else if (keep.make(ctx, Effort::cheap, s.gated, "gated output", dtype, s.o.shape())) {
    run(ctx, GateForward{.y = s.gated, .x = s.o, .logits = from.gate, .function = {}});
  }
  if (y) {
    run(ctx, LinearForward{.y = y, .x = s.gated.view({t, kv_ * group_ * d_}), .weight = w[out_]});
  }
}

void Attention::backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                         const RopeTable& rope, ConstTensor dy, ConstTensor x, const Saved& s,
                         Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t t = x.dim(0);
  const DType dtype = x.dtype();
  const Shape heads{t, kv_, group_, d_}, flat{t, kv_ * group_ * d_};
  const Tensor dqkvg = ctx.scratch.allocate("d qkvg", dtype, s.qkvg.shape());
  const auto to = parts<Tensor>(dqkvg);
  const auto from = parts<ConstTensor>(s.qkvg);

  const Tensor dgated = ctx.scratch.allocate("d gated output", dtype, heads);
  run(ctx, LinearBackwardInput{.dx = dgated.view(flat), .dy = dy, .weight = w[out_]});
  run(ctx, LinearBackwardWeight{
               .dweight = g[out_], .dy = dy, .x = s.gated.view(flat), .accumulate = g.accumulate});

  Tensor d_o = dgated;
  if (gate_ > 0) {
    d_o = ctx.scratch.allocate("d attention output", dtype, heads);
    run(ctx, GateBackward{.dx = d_o,
                          .dlogits = to.gate,
                          .dy = dgated,
                          .x = s.o,
                          .logits = from.gate,
                          .function = {}});
  }

  const Tensor dq = ctx.scratch.allocate("d rotated q", dtype, heads);
  const Tensor dk = ctx.scratch.allocate("d rotated k", dtype, s.k.shape());
  run(ctx, AttentionBackward{.dq = dq,
                             .dk = dk,
                             .dv = to.v,
                             .d_o = d_o,
                             .q = s.q,
                             .k = s.k,
                             .v = from.v,
                             .o = s.o,
                             .lse = s.lse,
                             .documents = batch.documents,
                             .longest = batch.longest,
                             .scale = scale_});

  const auto head_norm_rope = [&](Tensor d_in, ConstTensor d_out, ConstTensor in, ConstTensor rstd,
                                  ParamId norm) {
    run(ctx, HeadNormRopeBackward{.dx = d_in,
                                  .dweight = qk_norm_ ? g[norm] : Tensor{},
                                  .dy = d_out,
                                  .x = in,
                                  .rstd = rstd,
                                  .weight = qk_norm_ ? w[norm] : ConstTensor{},
                                  .cos = rope.cos,
                                  .sin = rope.sin,
                                  .positions = batch.positions,
                                  .accumulate = g.accumulate});
  };
  head_norm_rope(to.q, dq, from.q, s.q_rstd, q_norm_);
  head_norm_rope(to.k, dk, from.k, s.k_rstd, k_norm_);

  run(ctx, LinearBackwardInput{.dx = dx, .dy = dqkvg, .weight = w[qkvg_]});
  run(ctx,
      LinearBackwardWeight{.dweight = g[qkvg_], .dy = dqkvg, .x = x, .accumulate = g.accumulate});
}

void Attention::decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
                       const RopeTable& rope, ConstTensor x, Tensor y,
                       const KeyValueCache& cache) const {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t t = x.dim(0);
  const DType dtype = x.dtype();
  const auto make = [&](const char* label, DType type, const Shape& shape) {
    return ctx.scratch.allocate(label, type, shape);
  };
  Saved s;
  s.qkvg = make("qkvg", dtype, {t, kv_ * group_width()});
  run(ctx, LinearForward{.y = s.qkvg, .x = x, .weight = w[qkvg_]});
  const auto from = parts<ConstTensor>(s.qkvg);

  s.q = make("rotated q", dtype, {t, kv_, group_, d_});
  s.k = cache.k.rows(first, first + t);
  if (qk_norm_) {
    s.q_rstd = make("head rstd", DType::f32, {t, kv_, group_});
    s.k_rstd = make("head rstd", DType::f32, {t, kv_, 1});
  }
  rotate(ctx, w, positions, rope, from, s);
  run(ctx, CopyRows{.y = cache.v.rows(first, first + t), .x = from.v});

  s.o = make("attention output", dtype, s.q.shape());
  run(ctx, CachedAttention{.o = s.o,
                           .q = s.q,
                           .k = cache.k.rows(0, first + t),
                           .v = cache.v.rows(0, first + t),
                           .scale = scale_});
  if (gate_ > 0) run(ctx, GateForward{.y = s.o, .x = s.o, .logits = from.gate, .function = {}});
  run(ctx, LinearForward{.y = y, .x = s.o.view({t, kv_ * group_ * d_}), .weight = w[out_]});
}

}  // namespace hg
