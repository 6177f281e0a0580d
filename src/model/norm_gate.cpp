#include "model/norm_gate.h"

#include "ops/elementwise.h"
#include "ops/gate.h"
#include "ops/linear.h"

namespace hg {
namespace {

constexpr GateFunction kSigmoid{};

}  // namespace

NormGate::NormGate(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : rank_(config.gated_norm_rank) {
  const std::int64_t h = config.hidden_size;
  const auto add = [&](const char* name, const Shape& shape) {
    const Init init = Init::normal(static_cast<float>(config.initializer_range));
    return store.add({.name = prefix + name,
                      .shape = shape,
                      .decay = true,
                      .parts = {{"norm_gate", shape.numel(), init}},
                      .split = store.split_of_tokens()});
  };
  down_ = add(".gate_down.weight", {rank_, h});
  up_ = add(".gate_up.weight", {h, rank_});
}

void NormGate::forward(Context& ctx, const Weights& w, ConstTensor x, Saved& s, Keep keep) const {
  const Shape low{x.dim(0), rank_};
  if (keep.make(ctx, Effort::matmul, s.down, "norm gate", x.dtype(), low)) {
    run(ctx, LinearForward{.y = s.down, .x = x, .weight = w[down_]});
  }
  if (keep.make(ctx, Effort::cheap, s.hidden, "norm gate", x.dtype(), low)) {
    // silu(x) = x sigmoid(x): x gates itself.
    run(ctx,
        GateForward{
            .y = as_heads(s.hidden), .x = as_heads(s.down), .logits = {}, .function = kSigmoid});
  }
  if (keep.make(ctx, Effort::matmul, s.logits, "norm gate", x.dtype(), x.shape())) {
    run(ctx, LinearForward{.y = s.logits, .x = s.hidden, .weight = w[up_]});
  }
  if (keep.make(ctx, Effort::cheap, s.y, "gated norm", x.dtype(), x.shape())) {
    run(ctx, GateForward{.y = as_heads(s.y),
                         .x = as_heads(x),
                         .logits = as_heads(s.logits),
                         .function = kSigmoid});
  }
}

void NormGate::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dy,
                        ConstTensor x, const Saved& s, Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const auto make = [&](const Shape& shape) {
    return ctx.scratch.allocate("d norm gate", x.dtype(), shape);
  };
  const Tensor dlogits = make(x.shape()), dhidden = make(s.hidden.shape());
  run(ctx, GateBackward{.dx = as_heads(dx),
                        .dlogits = as_heads(dlogits),
                        .dy = as_heads(dy),
                        .x = as_heads(x),
                        .logits = as_heads(s.logits),
                        .function = kSigmoid});
  run(ctx, LinearBackwardInput{.dx = dhidden, .dy = dlogits, .weight = w[up_]});
  run(ctx, LinearBackwardWeight{
               .dweight = g[up_], .dy = dlogits, .x = s.hidden, .accumulate = g.accumulate});
  const Tensor ddown = dhidden;
  run(ctx, GateBackward{.dx = as_heads(ddown),
                        .dlogits = {},
                        .dy = as_heads(dhidden),
                        .x = as_heads(s.down),
                        .logits = {},
                        .function = kSigmoid});
  const Tensor through = dlogits;  // the gradient of x that takes the way over the gate
  run(ctx, LinearBackwardInput{.dx = through, .dy = ddown, .weight = w[down_]});
  run(ctx,
      LinearBackwardWeight{.dweight = g[down_], .dy = ddown, .x = x, .accumulate = g.accumulate});
  run(ctx, Add{.y = dx, .x = through});
}

}  // namespace hg
