#include "model/branch_output.h"

#include "ops/elementwise.h"
#include "ops/norm.h"

namespace hg {

BranchOutput::BranchOutput(ParamStore& store, const ModelConfig& config, const std::string& name)
    : norm_(config.sandwich_norm),
      eps_(static_cast<float>(config.rms_norm_eps)),
      clip_(static_cast<float>(config.residual_clip)) {
  if (!norm_) return;
  weight_ = store.add({.name = name + ".sandwich_norm.weight",
                       .shape = {config.hidden_size},
                       .decay = false,
                       .parts = {{"norm", config.hidden_size, Init::ones()}},
                       .split = store.split_of_tokens()});
}

Tensor BranchOutput::place(Context& ctx, ConstTensor x, Tensor delta, Saved& s, Keep keep) const {
  if (transparent()) return delta;
  const bool make =
      keep.make(ctx, Effort::matmul, s.projected, "branch output", x.dtype(), x.shape());
  return make ? s.projected : Tensor{};
}

void BranchOutput::forward(Context& ctx, const Weights& w, Tensor delta, Saved& s,
                           Keep keep) const {
  if (norm_) {
    const Shape& shape = s.projected.shape();
    bool make = keep.make(ctx, Effort::matmul, s.rstd, "rstd", DType::f32, {shape[0]});
    if (clip_ > 0) {
      make = keep.make(ctx, Effort::cheap, s.normed, "branch norm", s.projected.dtype(), shape);
    }
    if (make) {
      run(ctx, RmsNormForward{.y = clip_ > 0 ? s.normed : delta,
                              .rstd = s.rstd,
                              .x = s.projected,
                              .weight = w[weight_],
                              .eps = eps_});
    }
  }
  if (clip_ > 0 && delta) {
    run(ctx, ClipForward{.y = delta, .x = norm_ ? s.normed : s.projected, .limit = clip_});
  }
}

ConstTensor BranchOutput::backward(Context& ctx, const Weights& w, const Gradients& g,
                                   ConstTensor d, const Saved& s) const {
  if (transparent()) return d;
  const Tensor dprojected = ctx.scratch.allocate("d branch output", d.dtype(), d.shape());
  if (clip_ > 0) {
    run(ctx, ClipBackward{
                 .dx = dprojected, .dy = d, .y = norm_ ? s.normed : s.projected, .limit = clip_});
  }
  if (norm_) {
    run(ctx, RmsNormBackward{.dx = dprojected,
                             .dweight = g[weight_],
                             .dy = clip_ > 0 ? dprojected : d,
                             .x = s.projected,
                             .rstd = s.rstd,
                             .weight = w[weight_],
                             .dresidual = {},
                             .accumulate = g.accumulate});
  }
  return dprojected;
}

}  // namespace hg
