#include "model/gate.h"

#include "ops/elementwise.h"
#include "ops/gate.h"
#include "ops/linear.h"
#include "ops/reduce.h"

namespace hg {
namespace {

/// Head (j, g) of all tokens, [T, D].
template <class AnyTensor>
AnyTensor head(const AnyTensor& heads, std::int64_t j, std::int64_t g) {
  const AnyTensor one = heads.slice(1, j, j + 1).slice(2, g, g + 1);
  return AnyTensor(one.data(), one.dtype(), {one.dim(0), one.dim(3)}, {one.stride(0), 1});
}

}  // namespace

Shape gated_heads(const ModelConfig& config) {
  switch (config.attention.gate.position) {
    case GatePosition::output:
      return {1, 1, config.hidden_size};
    case GatePosition::value:
    case GatePosition::key:
    case GatePosition::rotated_key:
      return {config.num_key_value_heads, 1, config.head_dim};
    default:
      return {config.num_key_value_heads, config.heads_per_group(), config.head_dim};
  }
}

AttentionGate::AttentionGate(ParamStore& store, const ModelConfig& config,
                             const std::string& prefix)
    : config_(config.attention.gate) {
  const Shape heads = gated_heads(config);
  kv_ = heads[0], group_ = heads[1], d_ = heads[2];
  e_ = config_.granularity == GateGranularity::headwise ? 1 : d_;
  dims_ = config_.input_dims > 0 ? config_.input_dims : config.hidden_size;
  const bool learned = config_.input == GateInput::learned;
  init_std_ = static_cast<float>(config_.init_std.value_or(learned ? 0 : config.initializer_range));
  const bool none = stands_at(GatePosition::none);
  fused_ = !none && !stands_at(GatePosition::output) && config_.input == GateInput::hidden &&
           config_.heads != GateHeads::shared && config_.input_dims == 0;
  if (none || fused_ || config_.input == GateInput::self) return;

  const std::int64_t all = kv_ * group_ * e_;  // rows lie head by head: a split over heads is one
  const Shape shape = learned                              ? Shape{kv_ * group_, e_}
                      : config_.input == GateInput::state  ? Shape{all, d_}
                      : config_.heads == GateHeads::shared ? Shape{e_, dims_}
                                                           : Shape{all, dims_};
  weight_ = store.add({.name = prefix + ".gate.weight",
                       .shape = shape,
                       .decay = !learned,
                       .parts = {{"gate", shape.numel(), Init::normal(init_std_)}},
                       .split = config_.heads == GateHeads::shared ? Split::partial : Split::rows});
}

GateFunction AttentionGate::function() const {
  const bool applied = config_.heads == GateHeads::mean_scores;
  return {.activation = applied ? Activation::identity : config_.activation,
          .mode = config_.mode,
          .scale = static_cast<float>(config_.scale)};
}

ConstTensor AttentionGate::logits(const Weights& w, const Source& from, const Shape& state,
                                  const Saved& s) const {
  const Shape each = state.with(3, e_);
  if (averaged()) return ConstTensor(s.shared).expand(each);
  if (fused_) return from.fused;
  if (config_.input == GateInput::learned) {
    return w[weight_].view({1, kv_, group_, e_}).expand(each);
  }
  if (config_.input == GateInput::self) return {};
  return ConstTensor(s.logits).expand(each);
}

void AttentionGate::make_logits(Context& ctx, const Weights& w, const Source& from,
                                ConstTensor state, Saved& s, Keep keep) const {
  const std::int64_t t = state.dim(0);
  const DType dtype = state.dtype();
  const auto make = [&](const Shape& shape) {
    return keep.make(ctx, Effort::matmul, s.logits, "gate logits", dtype, shape);
  };
  if (config_.input == GateInput::state) {
    if (!make({t, kv_, group_, e_})) return;
    for (std::int64_t j = 0; j < kv_; ++j) {
      for (std::int64_t g = 0; g < group_; ++g) {
        const std::int64_t row = (j * group_ + g) * e_;
        run(ctx, LinearForward{.y = head(s.logits, j, g),
                               .x = head(state, j, g),
                               .weight = w[weight_].rows(row, row + e_)});
      }
    }
  } else if (config_.input == GateInput::hidden && !fused_) {
    const bool one = config_.heads == GateHeads::shared;
    const Shape shape{t, one ? 1 : kv_, one ? 1 : group_, e_};
    if (!make(shape)) return;
    run(ctx, LinearForward{.y = s.logits.view({t, shape.numel() / t}),
                           .x = used(from.hidden),
                           .weight = w[weight_]});
  }
}

ConstTensor AttentionGate::forward(Context& ctx, const Weights& w, const Source& from,
                                   ConstTensor state, Saved& s, Keep keep, Tensor y) const {
  s.state = state;
  s.result = y;
  make_logits(ctx, w, from, state, s, keep);
  if (averaged() && keep.make(ctx, Effort::cheap, s.shared, "shared gate", state.dtype(),
                              {state.dim(0), 1, 1, e_})) {
    run(ctx,
        SumHeadsForward{
            .y = s.shared, .x = own_logits(from, s), .activation = inner(), .factor = share()});
  }
  if (!y) {
    if (!keep.make(ctx, Effort::cheap, s.gated, "gated", state.dtype(), state.shape()))
      return s.gated;
    s.result = y = s.gated;
  }
  run(ctx,
      GateForward{
          .y = y, .x = state, .logits = logits(w, from, state.shape(), s), .function = function()});
  return y;
}

Tensor AttentionGate::backward(Context& ctx, const Weights& w, const Gradients& g,
                               const Source& from, ConstTensor state, const Saved& s,
                               ConstTensor dy, Tensor dstate, Tensor dfused) const {
  const ConstTensor z = logits(w, from, state.shape(), s);
  // Logits of the heads' own have gradients of their own; shared ones are summed up from these.
  const bool direct = fused_ && !averaged();
  Tensor dlogits = dfused;
  if (!direct && z) dlogits = ctx.scratch.allocate("d gate logits", state.dtype(), z.shape());
  run(ctx, GateBackward{.dx = dstate,
                        .dlogits = z ? dlogits : Tensor{},
                        .dy = dy,
                        .x = state,
                        .logits = z,
                        .function = function()});
  if (direct || !z) return {};
  if (averaged()) {
    const Tensor dshared = ctx.scratch.allocate("d shared gate", state.dtype(), s.shared.shape());
    run(ctx, SumHeadsForward{
                 .y = dshared, .x = dlogits, .activation = Activation::identity, .factor = 1});
    if (fused_) dlogits = dfused;
    run(ctx, SumHeadsBackward{.dx = dlogits,
                              .dy = dshared,
                              .x = own_logits(from, s),
                              .activation = inner(),
                              .factor = share()});
    if (fused_) return {};
  }
  return backward_of_logits(ctx, w, g, from, state, s, dlogits, dstate);
}

Tensor AttentionGate::backward_of_logits(Context& ctx, const Weights& w, const Gradients& g,
                                         const Source& from, ConstTensor state, const Saved& s,
                                         ConstTensor dlogits, Tensor dstate) const {
  const std::int64_t t = state.dim(0);
  const DType dtype = state.dtype();
  if (config_.input == GateInput::learned) {
    const std::int64_t n = kv_ * group_ * e_;
    run(ctx,
        SumTokens{
            .dparam = g[weight_].view({n}), .x = dlogits.view({t, n}), .accumulate = g.accumulate});
    return {};
  }
  if (config_.input == GateInput::state) {
    const Tensor through = ctx.scratch.allocate("d state", dtype, {t, d_});
    for (std::int64_t j = 0; j < kv_; ++j) {
      for (std::int64_t i = 0; i < group_; ++i) {
        const std::int64_t row = (j * group_ + i) * e_;
        const ConstTensor dz = head(dlogits, j, i);
        run(ctx,
            LinearBackwardInput{.dx = through, .dy = dz, .weight = w[weight_].rows(row, row + e_)});
        run(ctx, Add{.y = head(dstate, j, i), .x = through});
        run(ctx, LinearBackwardWeight{.dweight = g[weight_].rows(row, row + e_),
                                      .dy = dz,
                                      .x = head(state, j, i),
                                      .accumulate = g.accumulate});
      }
    }
    return {};
  }
  ConstTensor dz = dlogits;
  if (config_.heads == GateHeads::shared) {
    const Tensor sum = ctx.scratch.allocate("d shared gate", dtype, s.logits.shape());
    run(ctx,
        SumHeadsForward{.y = sum, .x = dlogits, .activation = Activation::identity, .factor = 1});
    dz = sum;
  }
  dz = dz.view({t, dz.numel() / t});
  run(ctx,
      LinearBackwardWeight{
          .dweight = g[weight_], .dy = dz, .x = used(from.hidden), .accumulate = g.accumulate});
  const Tensor dhidden = ctx.scratch.allocate("d gate input", dtype, {t, dims_});
  run(ctx, LinearBackwardInput{.dx = dhidden, .dy = dz, .weight = w[weight_]});
  return dhidden;
}

}  // namespace hg
