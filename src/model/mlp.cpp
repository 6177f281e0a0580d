#include "model/mlp.h"

#include "model/linear.h"
#include "ops/glu.h"

namespace hg {

Mlp::Mlp(ParamStore& store, const ModelConfig& config, std::int64_t width, Share share,
         const std::string& kind, const std::string& prefix)
    : f_(width) {
  const std::int64_t h = config.hidden_size;
  const bool part = share == Share::part;
  gate_up_ = store.add(
      {.name = prefix + ".gate_up.weight",
       .shape = {2 * f_, h},
       .decay = true,
       .parts = {{kind, 2 * f_ * h, Init::normal(static_cast<float>(config.initializer_range))}},
       .split = part ? Split::halves : store.split_of_tokens()});
  down_ = store.add({.name = prefix + ".down.weight",
                     .shape = {h, f_},
                     .decay = true,
                     .parts = {{kind, f_ * h, Init::normal(config.output_std())}},
                     .split = part ? Split::columns : store.split_of_tokens()});
}

void Mlp::forward(Context& ctx, const Weights& w, ConstTensor x, Tensor y, Saved& s,
                  Keep keep) const {
  const std::int64_t t = x.dim(0);
  if (keep.make(ctx, Effort::matmul, s.gate_up, "gate and up", x.dtype(), {t, 2 * f_})) {
    run_linear(ctx, LinearForward{.y = s.gate_up, .x = x, .weight = w[gate_up_]});
  }
  if (keep.make(ctx, Effort::cheap, s.hidden, "swiglu", x.dtype(), {t, f_})) {
    run(ctx, SwiGluForward{.y = s.hidden, .x = s.gate_up, .weights = {}});
  }
  if (y) run_linear(ctx, LinearForward{.y = y, .x = s.hidden, .weight = w[down_]});
}

void Mlp::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dy,
                   ConstTensor x, const Saved& s, Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const Tensor dhidden = ctx.scratch.allocate("d swiglu", x.dtype(), s.hidden.shape());
  run_linear(ctx, LinearBackward{.dx = dhidden,
                                 .dweight = g[down_],
                                 .dy = dy,
                                 .x = s.hidden,
                                 .weight = w[down_],
                                 .accumulate = g.accumulate});
  const Tensor dgate_up = ctx.scratch.allocate("d gate and up", x.dtype(), s.gate_up.shape());
  run(ctx,
      SwiGluBackward{.dx = dgate_up, .dweights = {}, .dy = dhidden, .x = s.gate_up, .weights = {}});
  run_linear(ctx, LinearBackward{.dx = dx,
                                 .dweight = g[gate_up_],
                                 .dy = dgate_up,
                                 .x = x,
                                 .weight = w[gate_up_],
                                 .accumulate = g.accumulate});
}

}  // namespace hg
