#include "model/stream_norm.h"

#include "ops/norm.h"

namespace hg {

StreamNorm::StreamNorm(ParamStore& store, const ModelConfig& config, const std::string& name)
    : eps_(static_cast<float>(config.rms_norm_eps)),
      weight_(store.add({.name = name,
                         .shape = {config.hidden_size},
                         .decay = false,
                         .parts = {{"norm", config.hidden_size, Init::ones()}}})) {}

void StreamNorm::forward(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
                         Keep keep) const {
  const Shape& shape = stream.residual.shape();
  const DType dtype = stream.residual.dtype();
  if (keep.make(ctx, Effort::cheap, s.normed, "normed", dtype, shape)) {
    keep.make(ctx, Effort::cheap, s.rstd, "rstd", DType::f32, {shape[0]});
    if (stream.pending) {
      run(ctx, AddRmsNormForward{.y = s.normed,
                                 .sum = sum,
                                 .rstd = s.rstd,
                                 .x = stream.residual,
                                 .delta = stream.delta,
                                 .weight = w[weight_],
                                 .eps = eps_});
      stream.residual = sum;
      stream.pending = false;
    } else {
      run(ctx, RmsNormForward{.y = s.normed,
                              .rstd = s.rstd,
                              .x = stream.residual,
                              .weight = w[weight_],
                              .eps = eps_});
    }
  }
  s.sum = stream.residual;
}

void StreamNorm::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dnormed,
                          const Saved& s, ConstTensor dresidual, Tensor d) const {
  run(ctx, RmsNormBackward{.dx = d,
                           .dweight = g[weight_],
                           .dy = dnormed,
                           .x = s.sum,
                           .rstd = s.rstd,
                           .weight = w[weight_],
                           .dresidual = dresidual,
                           .accumulate = g.accumulate});
}

}  // namespace hg
