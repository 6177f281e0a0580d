#include "model/stream_norm.h"

#include "ops/elementwise.h"
#include "ops/gate.h"
#include "ops/norm.h"
#include "ops/reduce.h"

namespace hg {
namespace {

// PreAffine is a gate whose scores are parameters.
constexpr GateFunction kProduct{.activation = Activation::identity};

/// A vector for each of `tokens` tokens, [T, 1, 1, hidden].
ConstTensor for_tokens(const ConstTensor& vector, std::int64_t tokens) {
  const std::int64_t h = vector.dim(0);
  return vector.view({1, 1, 1, h}).expand({tokens, 1, 1, h});
}

}  // namespace

StreamNorm::StreamNorm(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : eps_(static_cast<float>(config.rms_norm_eps)), has_pre_affine_(config.pre_affine) {
  const auto add = [&](const char* name) {
    return store.add({.name = prefix + name,
                      .shape = {config.hidden_size},
                      .decay = false,
                      .parts = {{"norm", config.hidden_size, Init::ones()}},
                      .split = store.split_of_tokens()});
  };
  weight_ = add(".weight");
  if (has_pre_affine_) pre_affine_ = add(".pre_affine");
  if (config.gated_norm_rank > 0) gate_.emplace(store, config, prefix);
}

void StreamNorm::add_and_scale(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
                               Keep keep) const {
  if (stream.pending) {
    run(ctx, Add{.y = sum, .x = stream.delta, .base = stream.residual});
    stream.residual = sum;
    stream.pending = false;
  }
  const ConstTensor& x = stream.residual;
  keep.make(ctx, Effort::cheap, s.scaled, "scaled residual", x.dtype(), x.shape());
  run(ctx, GateForward{.y = as_heads(s.scaled),
                       .x = as_heads(x),
                       .logits = for_tokens(w[pre_affine_], x.dim(0)),
                       .function = kProduct});
}

void StreamNorm::forward(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
                         Keep keep) const {
  const Shape& shape = stream.residual.shape();
  const DType dtype = stream.residual.dtype();
  if (keep.make(ctx, Effort::cheap, s.ungated, "normed", dtype, shape)) {
    keep.make(ctx, Effort::cheap, s.rstd, "rstd", DType::f32, {shape[0]});
    if (has_pre_affine_) add_and_scale(ctx, w, stream, sum, s, keep);
    if (stream.pending) {
      run(ctx, AddRmsNormForward{.y = s.ungated,
                                 .sum = sum,
                                 .rstd = s.rstd,
                                 .x = stream.residual,
                                 .delta = stream.delta,
                                 .weight = w[weight_],
                                 .eps = eps_});
      stream.residual = sum;
      stream.pending = false;
    } else {
      run(ctx, RmsNormForward{.y = s.ungated,
                              .rstd = s.rstd,
                              .x = has_pre_affine_ ? s.scaled : stream.residual,
                              .weight = w[weight_],
                              .eps = eps_});
    }
  }
  s.sum = stream.residual;
  if (gate_) gate_->forward(ctx, w, s.ungated, s.gate, keep);
  s.normed = gate_ ? s.gate.y : s.ungated;
}

void StreamNorm::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dnormed,
                          const Saved& s, bool holds_residual, Tensor d) const {
  const ArenaScope scope(ctx.scratch);
  const auto make = [&] { return ctx.scratch.allocate("d stream norm", d.dtype(), d.shape()); };
  ConstTensor dungated = dnormed;
  if (gate_) {
    const Tensor dx = make();
    gate_->backward(ctx, w, g, dnormed, s.ungated, s.gate, dx);
    dungated = dx;
  }
  const Tensor dx = has_pre_affine_ ? make() : d;
  run(ctx, RmsNormBackward{.dx = dx,
                           .dweight = g[weight_],
                           .dy = dungated,
                           .x = has_pre_affine_ ? s.scaled : s.sum,
                           .rstd = s.rstd,
                           .weight = w[weight_],
                           .dresidual = holds_residual && !has_pre_affine_ ? d : Tensor{},
                           .accumulate = g.accumulate});
  if (!has_pre_affine_) return;
  const Tensor daffine = make();  // of each token
  run(ctx, GateBackward{.dx = as_heads(holds_residual ? dx : d),
                        .dlogits = as_heads(daffine),
                        .dy = as_heads(dx),
                        .x = as_heads(s.sum),
                        .logits = for_tokens(w[pre_affine_], d.dim(0)),
                        .function = kProduct});
  run(ctx, SumTokens{.dparam = g[pre_affine_], .x = daffine, .accumulate = g.accumulate});
  if (holds_residual) run(ctx, Add{.y = d, .x = dx});
}

}  // namespace hg
