#include "model/moe.h"

#include "ops/dispatch.h"
#include "ops/glu.h"
#include "ops/grouped_linear.h"

namespace hg {
namespace {

ParamId add_experts(ParamStore& store, const MoeConfig& moe, const std::string& name,
                    std::int64_t outputs, std::int64_t inputs, float std) {
  const std::int64_t e = moe.num_experts;
  return store.add({.name = name,
                    .shape = {e, outputs, inputs},
                    .decay = true,
                    .parts = {{"experts", e * outputs * inputs, Init::normal(std)}}});
}

}  // namespace

Moe::Moe(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : f_(config.moe.expert_intermediate_size),
      router_(store, config, prefix + ".router"),
      gate_up_(add_experts(store, config.moe, prefix + ".experts.gate_up.weight", 2 * f_,
                           config.hidden_size, static_cast<float>(config.initializer_range))),
      down_(add_experts(store, config.moe, prefix + ".experts.down.weight", config.hidden_size, f_,
                        config.output_std())) {
  if (config.moe.shared_expert_intermediate_size > 0)
    shared_.emplace(store, config, prefix + ".shared_expert");
}

void Moe::forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Tensor y,
                  Saved& s, Keep keep, const LayerInstruments& look) const {
  if (keep.pass != Pass::again) router_.forward(ctx, w, documents, x, s.route, keep.pass, look);
  const ConstTensor offsets = s.route.offsets;
  const std::int64_t rows = s.route.row_weights.dim(0);
  if (keep.make(ctx, Effort::cheap, s.input, "expert input", x.dtype(), {rows, x.dim(1)})) {
    run(ctx, Permute{.y = s.input, .x = x, .rows = s.route.rows});
  }
  if (keep.make(ctx, Effort::matmul, s.gate_up, "expert gate and up", x.dtype(), {rows, 2 * f_})) {
    run(ctx, GroupedLinearForward{
                 .y = s.gate_up, .x = s.input, .weight = w[gate_up_], .offsets = offsets});
  }
  if (keep.make(ctx, Effort::cheap, s.hidden, "expert swiglu", x.dtype(), {rows, f_})) {
    run(ctx, SwiGluForward{.y = s.hidden, .x = s.gate_up, .weights = s.route.row_weights});
  }
  if (shared_) shared_->forward(ctx, w, x, y, s.shared, keep);
  if (!y) return;
  const ArenaScope scope(ctx.scratch);
  const Tensor out = ctx.scratch.allocate("expert output", x.dtype(), {rows, x.dim(1)});
  run(ctx, GroupedLinearForward{.y = out, .x = s.hidden, .weight = w[down_], .offsets = offsets});
  run(ctx, Unpermute{.y = y,
                     .x = out,
                     .base = shared_ ? ConstTensor(y) : ConstTensor{},
                     .rows = s.route.rows});
}

void Moe::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor documents,
                   ConstTensor dy, ConstTensor x, const Saved& s, Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const ConstTensor offsets = s.route.offsets;
  const auto make = [&](std::string_view label, const ConstTensor& like) {
    return ctx.scratch.allocate(label, like.dtype(), like.shape());
  };
  // The gradient of the experts' outputs, and in the end that of their inputs.
  const Tensor d = make("d experts", s.input), dhidden = make("d expert swiglu", s.hidden);
  run(ctx, Permute{.y = d, .x = dy, .rows = s.route.rows});
  run(ctx,
      GroupedLinearBackwardInput{.dx = dhidden, .dy = d, .weight = w[down_], .offsets = offsets});
  run(ctx, GroupedLinearBackwardWeight{.dweight = g[down_],
                                       .dy = d,
                                       .x = s.hidden,
                                       .offsets = offsets,
                                       .accumulate = g.accumulate});
  const Tensor dgate_up = make("d expert gate and up", s.gate_up);
  const Tensor drow_weights = make("d expert weights", s.route.row_weights);
  run(ctx, SwiGluBackward{.dx = dgate_up,
                          .dweights = drow_weights,
                          .dy = dhidden,
                          .x = s.gate_up,
                          .weights = s.route.row_weights});
  run(ctx, GroupedLinearBackwardInput{
               .dx = d, .dy = dgate_up, .weight = w[gate_up_], .offsets = offsets});
  run(ctx, GroupedLinearBackwardWeight{.dweight = g[gate_up_],
                                       .dy = dgate_up,
                                       .x = s.input,
                                       .offsets = offsets,
                                       .accumulate = g.accumulate});

  router_.backward(ctx, w, g, documents, drow_weights, x, s.route, dx);
  if (shared_) shared_->backward(ctx, w, g, dy, x, s.shared, dx);
  run(ctx, Unpermute{.y = dx, .x = d, .base = dx, .rows = s.route.rows});
}

}  // namespace hg
