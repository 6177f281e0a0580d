#include "model/router.h"

#include "dist/collectives.h"
#include "ops/dispatch.h"
#include "ops/elementwise.h"
#include "ops/linear.h"
#include "ops/optimizer.h"
#include "ops/route.h"

namespace hg {
namespace {

/// x itself, or in scratch.
ConstTensor in_f32(Context& ctx, ConstTensor x) {
  if (x.dtype() == DType::f32) return x;
  const Tensor y = ctx.scratch.allocate("router input", DType::f32, x.shape());
  run(ctx, Cast{.y = y.view({y.numel()}), .x = x.view({x.numel()})});
  return y;
}

}  // namespace

Router::Router(ParamStore& store, const ModelConfig& config, const std::string& prefix)
    : config_(config.moe),
      tokens_(store.mesh().tokens),
      weight_(store.add({.name = prefix + ".weight",
                         .shape = {config_.num_experts, config.hidden_size},
                         .decay = true,
                         .parts = {{"router", config_.num_experts * config.hidden_size,
                                    Init::normal(static_cast<float>(config.initializer_range))}},
                         .split = store.split_of_tokens()})),
      loads_(store.add_buffer({.name = prefix + ".loads",
                               .dtype = DType::i32,
                               .shape = {config_.num_experts},
                               .saved = false})) {
  if (!biased()) return;
  bias_ = store.add_buffer({.name = prefix + ".bias",
                            .dtype = DType::f32,
                            .shape = {config_.num_experts},
                            .saved = true});
}

ConstTensor Router::bounds(ConstTensor documents) const {
  const bool by_document =
      config_.load_balance == LoadBalance::sequence && config_.aux_loss_coef > 0;
  return by_document ? documents : ConstTensor{};
}

void Router::forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Saved& s,
                     Pass pass, const LayerInstruments& look) const {
  const std::int64_t t = x.dim(0), e = config_.num_experts, k = config_.top_k;
  const bool training = pass == Pass::train;
  const std::int64_t capacity = training ? config_.capacity(t) : 0;
  Arena& keep = training ? ctx.activations : ctx.scratch;
  s = {.logits = keep.allocate("router logits", DType::f32, {t, e}),
       .experts = keep.allocate("router choice", DType::i32, {t, k}),
       .rows = keep.allocate("router choice", DType::i32, {t, k}),
       .counts = keep.allocate("router choice", DType::i32, {e}),
       .offsets = keep.allocate("router choice", DType::i32, {e + 1}),
       .row_weights = keep.allocate("router choice", DType::f32, {config_.rows(t, capacity)}),
       .balance = {}};

  const ArenaScope scope(ctx.scratch);
  const auto make = [&](DType dtype, const Shape& shape) {
    return ctx.scratch.allocate("routing", dtype, shape);
  };
  run(ctx, LinearForward{.y = s.logits, .x = in_f32(ctx, x), .weight = in_f32(ctx, w[weight_])});
  const ConstTensor bounds = training ? this->bounds(documents) : ConstTensor{};
  const std::int64_t sums = bounds ? bounds.dim(0) - 1 : 1;
  const RouterForward choice{.weights = make(DType::f32, {t, k}),
                             .experts = s.experts,
                             .counts = make(DType::i32, {sums, e}),
                             .probability_sums = make(DType::f32, {sums, e}),
                             .statistics = make(DType::f32, {RouterForward::kStatistics}),
                             .logits = s.logits,
                             .bias = biased() ? w.buffer(bias_) : Tensor{},
                             .documents = bounds,
                             .function = config_.router()};
  run(ctx, choice);
  const ExpertPlan plan{.rows = s.rows,
                        .counts = s.counts,
                        .offsets = s.offsets,
                        .dropped = make(DType::i32, {1}),
                        .experts = s.experts,
                        .capacity = capacity};
  run(ctx, plan);
  run(ctx, PermuteWeights{.y = s.row_weights, .x = choice.weights, .rows = s.rows});
  if (training) balance(ctx, w, choice.counts, s);
  if (look) {
    look.see_router(ctx, {.counts = choice.counts,
                          .probability_sums = choice.probability_sums,
                          .statistics = choice.statistics,
                          .dropped = plan.dropped});
  }
}

void Router::balance(Context& ctx, const Weights& w, ConstTensor counts, Saved& s) const {
  const ArenaScope scope(ctx.scratch);
  const Tensor loads = w.buffer(loads_);
  if (tokens_.size > 1 && counts_all_ranks()) {
    const Tensor all = ctx.scratch.allocate("routing", DType::i32, {1, loads.dim(0)});
    run(ctx, Zero{.y = all});
    run(ctx, RouterLoads{.loads = all.view({loads.dim(0)}), .counts = counts});
    run(ctx, AllReduce{.x = all, .group = tokens_, .reduce = Reduce::sum, .label = "loads"});
    run(ctx, RouterLoads{.loads = loads, .counts = all});
  } else {
    run(ctx, RouterLoads{.loads = loads, .counts = counts});
  }
  if (config_.aux_loss_coef == 0) return;
  if (config_.load_balance == LoadBalance::global_batch) counts = loads.view({1, loads.dim(0)});
  s.balance = ctx.activations.allocate("router balance", DType::f32, counts.shape());
  run(ctx, RouterBalance{.balance = s.balance,
                         .counts = counts,
                         .coefficient = static_cast<float>(config_.aux_loss_coef)});
}

void Router::backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor documents,
                      ConstTensor drow_weights, ConstTensor x, const Saved& s, Tensor dx) const {
  const ArenaScope scope(ctx.scratch);
  const Tensor dweights = ctx.scratch.allocate("d router weights", DType::f32, s.rows.shape());
  run(ctx, UnpermuteWeights{.y = dweights, .x = drow_weights, .rows = s.rows});
  const Tensor dlogits = ctx.scratch.allocate("d router logits", DType::f32, s.logits.shape());
  // Losses are sums over tokens here as everywhere, so coefficients enter once for each token.
  run(ctx, RouterBackward{.dlogits = dlogits,
                          .dweights = dweights,
                          .logits = s.logits,
                          .experts = s.experts,
                          .balance = s.balance,
                          .documents = bounds(documents),
                          .function = config_.router(),
                          .z = static_cast<float>(config_.z_loss_coef)});
  const ConstTensor input = in_f32(ctx, x);
  run(ctx, LinearBackwardWeight{
               .dweight = g[weight_], .dy = dlogits, .x = input, .accumulate = g.accumulate});
  const bool direct = dx.dtype() == DType::f32;
  const Tensor dinput =
      direct ? dx : ctx.scratch.allocate("d router input", DType::f32, dx.shape());
  run(ctx, LinearBackwardInput{.dx = dinput, .dy = dlogits, .weight = in_f32(ctx, w[weight_])});
  if (!direct) run(ctx, Cast{.y = dx.view({dx.numel()}), .x = dinput.view({dx.numel()})});
}

void Router::begin_step(Context& ctx, const Weights& w) const {
  run(ctx, Zero{.y = w.buffer(loads_)});
}

void Router::end_step(Context& ctx, const Weights& w) const {
  if (!biased()) return;
  if (!counts_all_ranks()) {
    run(ctx, AllReduce{
                 .x = w.buffer(loads_), .group = tokens_, .reduce = Reduce::sum, .label = "loads"});
  }
  run(ctx, RouterBiasUpdate{.bias = w.buffer(bias_),
                            .loads = w.buffer(loads_),
                            .rate = static_cast<float>(config_.bias_update_rate)});
}

}  // namespace hg
