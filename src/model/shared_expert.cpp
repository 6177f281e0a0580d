#include "model/shared_expert.h"

#include "ops/elementwise.h"
#include "ops/gate.h"
#include "ops/linear.h"

namespace hg {
namespace {

/// [T, C] as one head of each token, for the gate.
template <class T>
T as_heads(const T& x) {
  return x.view({x.dim(0), 1, 1, x.dim(1)});
}

}  // namespace

SharedExpert::SharedExpert(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : mlp_(store, config, config.moe.shared_expert_intermediate_size, Mlp::Share::whole,
           "shared_expert", prefix) {
  if (!config.moe.shared_expert_gate) return;
  gate_ = store.add({.name = prefix + ".gate.weight",
                     .shape = {1, config.hidden_size},
                     .decay = true,
                     .parts = {{"shared_expert", config.hidden_size,
                                Init::normal(static_cast<float>(config.initializer_range))}},
                     .split = store.split_of_tokens()});
}

void SharedExpert::forward(Context& ctx, const Weights& w, ConstTensor x, Tensor y, Saved& s,
                           Keep keep) const {
  if (!gate_) return mlp_.forward(ctx, w, x, y, s.mlp, keep);
  if (keep.make(ctx, Effort::matmul, s.logits, "shared gate", x.dtype(), {x.dim(0), 1})) {
    run(ctx, LinearForward{.y = s.logits, .x = x, .weight = w[*gate_]});
  }
  const bool make = keep.make(ctx, Effort::matmul, s.output, "shared expert", x.dtype(), x.shape());
  mlp_.forward(ctx, w, x, make ? s.output : Tensor{}, s.mlp, keep);
  if (!y) return;
  run(ctx,
      GateForward{
          .y = as_heads(y), .x = as_heads(s.output), .logits = as_heads(s.logits), .function = {}});
}

void SharedExpert::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dy,
                            ConstTensor x, const Saved& s, Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const Tensor part = ctx.scratch.allocate("d shared input", dx.dtype(), dx.shape());
  if (gate_) {
    const Tensor doutput = ctx.scratch.allocate("d shared expert", x.dtype(), s.output.shape());
    const Tensor dlogits = ctx.scratch.allocate("d shared gate", x.dtype(), s.logits.shape());
    run(ctx, GateBackward{.dx = as_heads(doutput),
                          .dlogits = as_heads(dlogits),
                          .dy = as_heads(dy),
                          .x = as_heads(s.output),
                          .logits = as_heads(s.logits),
                          .function = {}});
    run(ctx, LinearBackwardWeight{
                 .dweight = g[*gate_], .dy = dlogits, .x = x, .accumulate = g.accumulate});
    run(ctx, LinearBackwardInput{.dx = part, .dy = dlogits, .weight = w[*gate_]});
    run(ctx, Add{.y = dx, .x = part});
    dy = doutput;
  }
  mlp_.backward(ctx, w, g, dy, x, s.mlp, part);
  run(ctx, Add{.y = dx, .x = part});
}

}  // namespace hg
