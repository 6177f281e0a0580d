#include "model/attention.h"

#include <cmath>

#include "model/linear.h"
#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/sink.h"

namespace hg {

Attention::Attention(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : kv_(config.num_key_value_heads),
      group_(config.heads_per_group()),
      d_(config.head_dim),
      eps_(static_cast<float>(config.rms_norm_eps)),
      scale_(1.0F / std::sqrt(static_cast<float>(config.head_dim))),
      region_(store.mesh()),
      qk_norm_(config.attention.qk_norm),
      output_norm_(config.attention.output_norm),
      sink_(config.attention.sink),
      gate_(store, config, prefix) {
  const std::int64_t h = config.hidden_size, heads = kv_ * group_;
  const auto std = static_cast<float>(config.initializer_range);
  qkvg_ = store.add({.name = prefix + ".qkvg.weight",
                     .shape = {kv_ * group_width(), h},
                     .decay = true,
                     .parts = {{"attention", (group_ + 2) * d_ * h, Init::normal(std)},
                               {"gate", gate_.fused_width() * h, Init::normal(gate_.init_std())}},
                     .repeats = kv_,
                     .split = Split::rows});
  const auto head_norm = [&](const char* name) {
    return store.add({.name = prefix + name,
                      .shape = {d_},
                      .decay = false,
                      .parts = {{"norm", d_, Init::ones()}},
                      .split = Split::partial});
  };
  if (qk_norm_) {
    q_norm_ = head_norm(".q_norm.weight");
    k_norm_ = head_norm(".k_norm.weight");
  }
  if (output_norm_) o_norm_ = head_norm(".o_norm.weight");
  if (sink_ == Sink::learned) {
    sinks_ = store.add({.name = prefix + ".sinks",
                        .shape = {heads},
                        .decay = false,
                        .parts = {{"sink", heads, Init::normal(std)}},
                        .split = Split::rows});
  }
  out_ = store.add({.name = prefix + ".out.weight",
                    .shape = {h, heads * d_},
                    .decay = true,
                    .parts = {{"attention", heads * d_ * h, Init::normal(config.output_std())}},
                    .split = Split::columns});
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
  if (gate_.fused_width() > 0) result.gate = take(gate_.group(), gate_.logit_width());
  return result;
}

Attention::Heads Attention::project(Context& ctx, const Weights& w, ConstTensor positions,
                                    const RopeTable& rope, ConstTensor x, Saved& s,
                                    Keep keep) const {
  const std::int64_t t = x.dim(0);
  const DType dtype = x.dtype();
  if (keep.make(ctx, Effort::matmul, s.qkvg, "qkvg", dtype, {t, kv_ * group_width()})) {
    run_linear(ctx, LinearForward{.y = s.qkvg, .x = x, .weight = w[qkvg_]});
  }
  const auto from = parts<ConstTensor>(s.qkvg);
  const auto gate = [&](GatePosition position, ConstTensor state) {
    if (!gate_.stands_at(position)) return state;
    return gate_.forward(ctx, w, {x, from.gate}, state, s.gate, keep);
  };
  const auto rotate = [&](Tensor& y, Tensor& rstd, const char* label, ConstTensor in,
                          ParamId norm) {
    if (!keep.make(ctx, Effort::cheap, y, label, dtype, in.shape())) return;
    if (qk_norm_) keep.make(ctx, Effort::cheap, rstd, "head rstd", DType::f32, {t, kv_, in.dim(2)});
    run(ctx, HeadNormRopeForward{.y = y,
                                 .rstd = rstd,
                                 .x = in,
                                 .weight = qk_norm_ ? w[norm] : ConstTensor{},
                                 .cos = rope.cos,
                                 .sin = rope.sin,
                                 .positions = positions,
                                 .eps = eps_});
  };
  rotate(s.q, s.q_rstd, "rotated q", gate(GatePosition::query, from.q), q_norm_);
  rotate(s.k, s.k_rstd, "rotated k", gate(GatePosition::key, from.k), k_norm_);
  return {.q = gate(GatePosition::rotated_query, s.q),
          .k = gate(GatePosition::rotated_key, s.k),
          .v = gate(GatePosition::value, from.v)};
}

void Attention::finish(Context& ctx, const Weights& w, ConstTensor x, Tensor y, Saved& s,
                       Keep keep) const {
  const std::int64_t t = x.dim(0), rows = t * kv_ * group_;
  const DType dtype = x.dtype();
  const AttentionGate::Source source{x, parts<ConstTensor>(s.qkvg).gate};
  if (output_norm_ && keep.make(ctx, Effort::cheap, s.normed, "normed heads", dtype, s.o.shape())) {
    keep.make(ctx, Effort::cheap, s.o_rstd, "head rstd", DType::f32, {rows});
    run(ctx, RmsNormForward{.y = s.normed.view({rows, d_}),
                            .rstd = s.o_rstd,
                            .x = s.o.view({rows, d_}),
                            .weight = w[o_norm_],
                            .eps = eps_});
  }
  ConstTensor heads = attention_output(s);
  if (gate_.stands_at(GatePosition::sdpa))
    heads = gate_.forward(ctx, w, source, heads, s.gate, keep);

  const bool gated_output = gate_.stands_at(GatePosition::output);
  const Shape shape{t, w[out_].dim(0)};
  Tensor out = y;
  if (gated_output) {
    const bool make = keep.make(ctx, Effort::matmul, s.ungated, "ungated output", dtype, shape);
    out = make ? s.ungated : Tensor{};
  }
  if (out) run_linear(ctx, LinearForward{.y = out, .x = heads.view(flat(t)), .weight = w[out_]});
  if (gated_output && y) {
    const Shape row{t, 1, 1, shape[1]};
    gate_.forward(ctx, w, source, s.ungated.view(row), s.gate, keep, y.view(row));
  }
}

void Attention::forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                        ConstTensor x, Tensor y, Saved& s, Keep keep) const {
  const Heads in = project(ctx, w, batch.positions, rope, x, s, keep);
  const auto [k, v] = region_.enter(ctx, {in.k, in.v}, s.keys_and_values, keep);
  const std::int64_t t = x.dim(0);
  if (keep.make(ctx, Effort::matmul, s.o, "attention output", x.dtype(), in.q.shape())) {
    keep.make(ctx, Effort::matmul, s.lse, "logsumexp", DType::f32, {kv_, group_, t});
    run(ctx, AttentionForward{.o = s.o,
                              .lse = s.lse,
                              .q = in.q,
                              .k = k,
                              .v = v,
                              .documents = batch.documents,
                              .keys = batch.keys,
                              .longest = batch.longest,
                              .scale = scale_});
    if (sink_ != Sink::none) run(ctx, SinkForward{.o = s.o, .lse = s.lse, .sinks = sinks(w)});
  }
  finish(ctx, w, x, y, s, keep);
}

KeysAndValues<ConstTensor> Attention::seen(const Saved& s) const {
  return region_.entered({gated(GatePosition::rotated_key, s.k, s),
                          gated(GatePosition::value, parts<ConstTensor>(s.qkvg).v, s)},
                         s.keys_and_values);
}

AttentionView Attention::view(const Weights& w, ConstTensor x, const Saved& s) const {
  AttentionView view{.q = gated(GatePosition::rotated_query, s.q, s),
                     .k = seen(s).k,
                     .lse = s.lse,
                     .scale = scale_,
                     .logits = {},
                     .function = gate_.function(),
                     .sdpa = s.o,
                     .gated_from = s.gate.state,
                     .gated = s.gate.result};
  if (gate_.stands_at(GatePosition::none)) return view;
  const AttentionGate::Source source{x, parts<ConstTensor>(s.qkvg).gate};
  view.logits = gate_.logits(w, source, view.gated_from.shape(), s.gate);
  if (!view.logits) view.logits = view.gated_from;
  return view;
}

void Attention::backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                         const RopeTable& rope, ConstTensor dy, ConstTensor x, const Saved& s,
                         Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t t = x.dim(0), rows = t * kv_ * group_;
  const DType dtype = x.dtype();
  const Tensor dqkvg = ctx.scratch.allocate("d qkvg", dtype, s.qkvg.shape());
  const auto to = parts<Tensor>(dqkvg);
  const auto from = parts<ConstTensor>(s.qkvg);
  const auto scratch = [&](const char* label, const Shape& shape) {
    return ctx.scratch.allocate(label, dtype, shape);
  };
  Tensor dx_gate;  // through a weight of the gate's own
  const auto backward_of_gate = [&](GatePosition position, ConstTensor state, ConstTensor d,
                                    Tensor dstate) {
    if (!gate_.stands_at(position)) return;
    dx_gate = gate_.backward(ctx, w, g, {x, from.gate}, state, s.gate, d, dstate, to.gate);
  };

  ConstTensor dout = dy;
  if (gate_.stands_at(GatePosition::output)) {
    const Tensor dungated = scratch("d ungated output", dy.shape());
    const Shape row{t, 1, 1, dy.dim(1)};
    backward_of_gate(GatePosition::output, s.ungated.view(row), dy.view(row), dungated.view(row));
    dout = dungated;
  }
  const Tensor d_o = scratch("d attention output", s.o.shape());
  const ConstTensor o = attention_output(s);
  run_linear(ctx, LinearBackward{.dx = d_o.view(flat(t)),
                                 .dweight = g[out_],
                                 .dy = dout,
                                 .x = gated(GatePosition::sdpa, o, s).view(flat(t)),
                                 .weight = w[out_],
                                 .accumulate = g.accumulate});
  backward_of_gate(GatePosition::sdpa, o, d_o, d_o);
  if (output_norm_) {
    const Shape matrix{rows, d_};
    run(ctx, RmsNormBackward{.dx = d_o.view(matrix),
                             .dweight = g[o_norm_],
                             .dy = d_o.view(matrix),
                             .x = s.o.view(matrix),
                             .rstd = s.o_rstd,
                             .weight = w[o_norm_],
                             .dresidual = {},
                             .accumulate = g.accumulate});
  }
  if (sink_ == Sink::learned) {
    run(ctx, SinkBackward{.dsinks = g[sinks_].view({kv_, group_}),
                          .d_o = d_o,
                          .o = s.o,
                          .lse = s.lse,
                          .sinks = sinks(w),
                          .accumulate = g.accumulate});
  }

  // Values as they were projected take their gradient in place; behind a gate, in scratch first.
  const bool gated_value = gate_.stands_at(GatePosition::value);
  const Tensor dq = scratch("d q", s.q.shape()), dk = scratch("d k", s.k.shape());
  const Tensor dv = gated_value ? scratch("d v", s.k.shape()) : to.v;
  const auto [k, v] = seen(s);
  const auto d_seen = region_.room(ctx, {dk, dv});
  run(ctx, AttentionBackward{.dq = dq,
                             .dk = d_seen.k,
                             .dv = d_seen.v,
                             .d_o = d_o,
                             .q = gated(GatePosition::rotated_query, s.q, s),
                             .k = k,
                             .v = v,
                             .o = s.o,
                             .lse = s.lse,
                             .documents = batch.documents,
                             .keys = batch.keys,
                             .longest = batch.longest,
                             .scale = scale_});
  region_.backward_of_enter(ctx, d_seen, {dk, dv});
  backward_of_gate(GatePosition::value, from.v, dv, to.v);
  backward_of_gate(GatePosition::rotated_query, s.q, dq, dq);
  backward_of_gate(GatePosition::rotated_key, s.k, dk, dk);

  const auto backward_of_rotate = [&](Tensor d_in, ConstTensor d_out, ConstTensor in,
                                      ConstTensor rstd, ParamId norm) {
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
  backward_of_rotate(to.q, dq, gated(GatePosition::query, from.q, s), s.q_rstd, q_norm_);
  backward_of_rotate(to.k, dk, gated(GatePosition::key, from.k, s), s.k_rstd, k_norm_);
  backward_of_gate(GatePosition::query, from.q, to.q, to.q);
  backward_of_gate(GatePosition::key, from.k, to.k, to.k);

  run_linear(ctx, LinearBackward{.dx = dx,
                                 .dweight = g[qkvg_],
                                 .dy = dqkvg,
                                 .x = x,
                                 .weight = w[qkvg_],
                                 .accumulate = g.accumulate});
  if (dx_gate) run(ctx, Add{.y = dx.slice(1, 0, dx_gate.dim(1)), .x = dx_gate});
}

}  // namespace hg
