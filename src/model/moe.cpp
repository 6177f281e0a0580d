#include "model/moe.h"

#include "ops/dispatch.h"
#include "ops/glu.h"
#include "ops/grouped_linear.h"

namespace hg {
namespace {

ParamId add_experts(ParamStore& store, const MoeConfig& moe, const std::string& name,
                    std::int64_t outputs, std::int64_t inputs, float std) {
  const std::int64_t e = moe.num_experts / store.mesh().expert.size;
  return store.add({.name = name,
                    .shape = {e, outputs, inputs},
                    .decay = true,
                    .parts = {{"experts", e * outputs * inputs, Init::normal(std)}},
                    .split = Split::experts});
}

}  // namespace

Moe::Moe(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : config_(config.moe),
      f_(config.moe.expert_intermediate_size),
      router_(store, config, prefix + ".router"),
      exchange_(store.mesh(), config.moe),
      gate_up_(add_experts(store, config.moe, prefix + ".experts.gate_up.weight", 2 * f_,
                           config.hidden_size, static_cast<float>(config.initializer_range))),
      down_(add_experts(store, config.moe, prefix + ".experts.down.weight", config.hidden_size, f_,
                        config.output_std())) {
  if (config.moe.shared_expert_intermediate_size > 0)
    shared_.emplace(store, config, prefix + ".shared_expert");
}

void Moe::forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Tensor y,
                  Saved& s, Keep keep, const LayerInstruments& look) const {
  take_in(ctx, w, documents, x, s, keep, look);
  const ConstTensor offsets = s.exchange.offsets;
  const std::int64_t rows = s.input.dim(0);
  if (keep.make(ctx, Effort::matmul, s.gate_up, "expert gate and up", x.dtype(), {rows, 2 * f_})) {
    run(ctx, GroupedLinearForward{
                 .y = s.gate_up, .x = s.input, .weight = w[gate_up_], .offsets = offsets});
  }
  if (keep.make(ctx, Effort::cheap, s.hidden, "expert swiglu", x.dtype(), {rows, f_})) {
    run(ctx, SwiGluForward{.y = s.hidden,
                           .x = s.gate_up,
                           .weights = s.weights.view({rows}),
                           .used = s.exchange.used()});
  }
  if (shared_) shared_->forward(ctx, w, x, y, s.shared, keep);
  if (!y) return;
  const ArenaScope scope(ctx.scratch);
  const Tensor out = ctx.scratch.allocate("expert output", x.dtype(), {rows, x.dim(1)});
  run(ctx, GroupedLinearForward{.y = out, .x = s.hidden, .weight = w[down_], .offsets = offsets});
  const Tensor own = exchange_.alone() ? Tensor{} : make_own(ctx, x, s.route);
  run(ctx, Unpermute{.y = y,
                     .x = exchange_.to_tokens(ctx, s.exchange, out, own),
                     .base = shared_ ? ConstTensor(y) : ConstTensor{},
                     .rows = s.route.rows});
}

void Moe::take_in(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Saved& s,
                  Keep keep, const LayerInstruments& look) const {
  const bool alone = exchange_.alone();
  if (keep.pass != Pass::again) {
    const bool training = keep.pass == Pass::train;
    Arena& arena = training ? ctx.activations : ctx.scratch;
    router_.forward(ctx, w, documents, x, s.route, keep.pass, look);
    const std::int64_t rows = s.route.row_weights.dim(0);
    const std::int64_t room = exchange_.room(rows, training ? config_.capacity(x.dim(0)) : 0);
    exchange_.plan(ctx, arena, s.route.counts, s.route.offsets, room, s.exchange);
    const Tensor weights = s.route.row_weights.view({rows, 1});
    s.weights = alone ? weights : arena.allocate("expert weights", DType::f32, {room, 1});
    exchange_.to_experts(ctx, s.exchange, weights, s.weights);
  }
  if (keep.make(ctx, Effort::cheap, s.input, "expert input", x.dtype(),
                {s.weights.dim(0), x.dim(1)})) {
    const ArenaScope scope(ctx.scratch);
    const Tensor own = alone ? s.input : make_own(ctx, x, s.route);
    run(ctx, Permute{.y = own, .x = x, .rows = s.route.rows});
    exchange_.to_experts(ctx, s.exchange, own, s.input);
  }
}

Tensor Moe::make_own(Context& ctx, ConstTensor x, const Router::Saved& route) {
  return ctx.scratch.allocate("rows of tokens", x.dtype(), {route.row_weights.dim(0), x.dim(1)});
}

void Moe::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor documents,
                   ConstTensor dy, ConstTensor x, const Saved& s, Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const ConstTensor offsets = s.exchange.offsets;
  const bool alone = exchange_.alone();
  const auto make = [&](std::string_view label, const ConstTensor& like) {
    return ctx.scratch.allocate(label, like.dtype(), like.shape());
  };
  // The gradient of the experts' outputs, and in the end that of their inputs: here, and on the
  // ranks that have the tokens.
  const Tensor d = make("d experts", s.input), dhidden = make("d expert swiglu", s.hidden);
  const Tensor down = alone ? d : make_own(ctx, x, s.route);
  run(ctx, Permute{.y = down, .x = dy, .rows = s.route.rows});
  exchange_.to_experts(ctx, s.exchange, down, d);
  run(ctx,
      GroupedLinearBackwardInput{.dx = dhidden, .dy = d, .weight = w[down_], .offsets = offsets});
  run(ctx, GroupedLinearBackwardWeight{.dweight = g[down_],
                                       .dy = d,
                                       .x = s.hidden,
                                       .offsets = offsets,
                                       .accumulate = g.accumulate});
  const Tensor dgate_up = make("d expert gate and up", s.gate_up);
  const Tensor dweights = make("d expert weights", s.weights);
  run(ctx, SwiGluBackward{.dx = dgate_up,
                          .dweights = dweights.view({dweights.dim(0)}),
                          .dy = dhidden,
                          .x = s.gate_up,
                          .weights = s.weights.view({dweights.dim(0)}),
                          .used = s.exchange.used()});
  run(ctx, GroupedLinearBackwardInput{
               .dx = d, .dy = dgate_up, .weight = w[gate_up_], .offsets = offsets});
  run(ctx, GroupedLinearBackwardWeight{.dweight = g[gate_up_],
                                       .dy = dgate_up,
                                       .x = s.input,
                                       .offsets = offsets,
                                       .accumulate = g.accumulate});

  const std::int64_t rows = s.route.row_weights.dim(0);
  const Tensor own_dweights = alone ? Tensor{} : make("d expert weights", s.route.row_weights);
  const ConstTensor drow_weights = exchange_.to_tokens(
      ctx, s.exchange, dweights, alone ? Tensor{} : own_dweights.view({rows, 1}));
  router_.backward(ctx, w, g, documents, drow_weights.view({rows}), x, s.route, dx);
  if (shared_) shared_->backward(ctx, w, g, dy, x, s.shared, dx);
  run(ctx, Unpermute{.y = dx,
                     .x = exchange_.to_tokens(ctx, s.exchange, d, down),
                     .base = dx,
                     .rows = s.route.rows});
}

}  // namespace hg
