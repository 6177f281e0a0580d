#include "model/instruments.h"

#include "dist/pipeline_schedule.h"
#include "model/gate.h"
#include "ops/cached_attention.h"
#include "ops/elementwise.h"
#include "ops/inspect_activations.h"
#include "ops/inspect_attention.h"
#include "ops/inspect_gate.h"
#include "ops/reduce.h"
#include "ops/route.h"

namespace hg {
namespace {

/// Statistics of heads, [T, KV, G, D], which may be a slice; channels are those of a token's row.
void measure(Context& ctx, const InstrumentJoin& join, Tensor out, ConstTensor heads) {
  const ArenaScope scope(ctx.scratch);
  if (!heads.contiguous()) {
    const Tensor copy = ctx.scratch.allocate("heads seen", heads.dtype(), heads.shape());
    run(ctx, CopyRows{.y = copy, .x = heads});
    heads = copy;
  }
  join.measure_heads(ctx, out, heads.view({heads.dim(0), heads.numel() / heads.dim(0)}));
}

/// y = x, of any shape.
void copy(Context& ctx, const Tensor& y, const ConstTensor& x) {
  const auto flat = [](const auto& tensor) { return tensor.view({1, 1, 1, tensor.numel()}); };
  run(ctx, CopyRows{.y = flat(y), .x = flat(x)});
}

RouterRecord make_router_record(const MoeConfig& config, Arena& arena) {
  const std::int64_t experts = config.num_experts;
  return {.loads = arena.allocate("instruments", DType::i32, {experts}),
          .probability_sums = arena.allocate("instruments", DType::f32, {experts}),
          .statistics =
              arena.allocate("instruments", DType::f32, {std::int64_t{RouterForward::kStatistics}}),
          .dropped = arena.allocate("instruments", DType::i32, {1}),
          .top_k = config.top_k};
}

/// All tensors that a layer has.
std::vector<Tensor*> results_of(Instruments::Layer& layer) {
  RouterRecord& router = layer.router;
  std::vector<Tensor*> all = {&layer.gate_heads,
                              &layer.gate_histogram,
                              &layer.gate_tokens,
                              &layer.first_token,
                              &layer.entropy,
                              &layer.sdpa,
                              &layer.gated_from,
                              &layer.gated,
                              &layer.branch[0],
                              &layer.branch[1],
                              &layer.stream[0],
                              &layer.stream[1],
                              &layer.map,
                              &router.loads,
                              &router.statistics,
                              &router.dropped,
                              &router.probability_sums};
  std::erase_if(all, [](const Tensor* tensor) { return !*tensor; });
  return all;
}

}  // namespace

RouterView RouterRecord::view() const {
  return {.counts = loads.view({1, loads.dim(0)}),
          .probability_sums = probability_sums.view({1, loads.dim(0)}),
          .statistics = statistics,
          .dropped = dropped};
}

Instruments::Instruments(const ModelConfig& config, std::int64_t tokens, Arena& arena,
                         const InstrumentOptions& options, const Mesh& mesh)
    : join_(mesh), stages_(mesh.pipeline), chunks_(mesh.chunks) {
  const auto make = [&](const Shape& shape) {
    return arena.allocate("instruments", DType::f32, shape);
  };
  const std::int64_t heads = config.num_attention_heads;
  const bool gated = config.attention.gate.position != GatePosition::none;
  // The attention output as it is, no norm between: one tensor, measured once.
  const bool output_is_gated =
      config.attention.gate.position == GatePosition::sdpa && !config.attention.output_norm;
  const Shape gate = gated_heads(config);
  const std::int64_t gates = gate[0] * gate[1];
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto magnitudes = [&] { return make({Magnitudes::kStatistics}); };
    Layer layer;
    layer.sdpa = magnitudes();
    if (gated) {
      layer.gate_heads = make({gates + 1, GateScores::kStatistics});
      layer.gate_histogram = make({gates, GateScores::kBins});
      layer.gate_tokens = make({tokens});
      layer.gated_from = output_is_gated ? layer.sdpa : magnitudes();
      layer.gated = magnitudes();
    }
    layer.first_token = make({heads, 2});
    layer.entropy = make({heads, 2});
    for (Tensor& branch : layer.branch) branch = magnitudes();
    for (Tensor& stream : layer.stream) stream = magnitudes();
    if (config.moe.routed(i)) layer.router = make_router_record(config.moe, arena);
    layers_.push_back(layer);
  }
  HG_CHECK(options.maps.empty() || join_.alone(),
           "attention maps are of all heads and tokens, which ranks share here; look on one rank");
  for (const std::int64_t layer : options.maps) {
    HG_CHECK(0 <= layer && layer < config.num_hidden_layers,
             "attention maps of layer {}; the model has layers 0 to {}", layer,
             config.num_hidden_layers - 1);
    layers_[static_cast<std::size_t>(layer)].map = make({heads, tokens, tokens});
  }
}

void Instruments::fetch(const Context& ctx) {
  if (!on_gpu(ctx)) return;
  fetched_ = layers_;
  std::size_t bytes = 0;
  for (Layer& layer : fetched_) {
    for (const Tensor* result : results_of(layer))
      bytes += static_cast<std::size_t>(result->bytes());
  }
  memory_.resize(bytes);
  std::byte* to = memory_.data();
  for (Layer& layer : fetched_) {
    for (Tensor* result : results_of(layer)) {
      load_values(ctx, to, *result);
      *result = Tensor(to, result->dtype(), result->shape());
      to += result->bytes();
    }
  }
}

void Instruments::gather_stages() {
  if (stages_.comm == nullptr) return;
  const int parts = stages_.size * chunks_;
  for (int part = 0; part < parts; ++part) {
    const auto [first, last] = layers_of_part(std::ssize(layers_), part, parts);
    for (std::int64_t i = first; i < last; ++i) {
      for (const Tensor* result : results_of(layers_[static_cast<std::size_t>(i)]))
        stages_.comm->broadcast(*result, part % stages_.size, "a look");
    }
  }
}

void Instruments::see_attention(Context& ctx, std::size_t layer, const Batch& batch,
                                const AttentionView& view) const {
  const ArenaScope scope(ctx.scratch);
  const Layer& to = layers_[layer];
  const Tensor first_token = join_.own_heads(to.first_token), entropy = join_.own_heads(to.entropy);
  const ConstTensor positions =
      join_.all_queries(ctx, batch.positions.view({batch.positions.dim(0), 1, 1, 1}));
  run(ctx, FirstTokenShare{.out = first_token,
                           .q = view.q,
                           .k = view.k,
                           .lse = view.lse,
                           .documents = batch.documents,
                           .keys = batch.keys,
                           .positions = positions.view({positions.dim(0)}),
                           .scale = view.scale});
  join_.reduce_queries(ctx, first_token, {Reduce::sum, Reduce::sum});
  run(ctx, AttentionEntropy{.out = entropy,
                            .q = view.q,
                            .k = view.k,
                            .lse = view.lse,
                            .documents = batch.documents,
                            .keys = batch.keys,
                            .longest = batch.longest,
                            .scale = view.scale});
  join_.reduce_queries(ctx, entropy, {Reduce::sum, Reduce::max});
  for (const Tensor& heads : {to.first_token, to.entropy}) join_.gather_heads(ctx, heads);
  if (to.map) {
    run(ctx, AttentionMap{.out = to.map,
                          .q = view.q,
                          .k = view.k,
                          .lse = view.lse,
                          .documents = batch.documents,
                          .scale = view.scale});
  }
  measure(ctx, join_, to.sdpa, view.sdpa);
  if (!to.gate_heads) return;
  // Quantiles of all heads together need the scores of all.
  run(ctx, GateScores{.heads = to.gate_heads,
                      .histogram = to.gate_histogram,
                      .tokens = to.gate_tokens,
                      .logits = join_.all_heads(ctx, view.logits),
                      .activation = view.function.activation,
                      .scale = view.function.scale});
  if (to.gated_from.data() != to.sdpa.data()) measure(ctx, join_, to.gated_from, view.gated_from);
  measure(ctx, join_, to.gated, view.gated);
}

void Instruments::see_branch(Context& ctx, std::size_t layer, Branch branch, ConstTensor residual,
                             ConstTensor output) const {
  const ArenaScope scope(ctx.scratch);
  const auto which = static_cast<std::size_t>(branch);
  join_.measure_tokens(ctx, layers_[layer].branch[which], output);
  const Tensor sum = ctx.scratch.allocate("stream seen", residual.dtype(), residual.shape());
  run(ctx, Add{.y = sum, .x = output, .base = residual});
  join_.measure_tokens(ctx, layers_[layer].stream[which], sum);
}

void Instruments::see_router(Context& ctx, std::size_t layer, const RouterView& view) const {
  const RouterRecord& to = layers_[layer].router;
  HG_CHECK(to, "instruments see a router in layer {}, which the config says is dense", layer);
  run(ctx, Zero{.y = to.loads});
  run(ctx, RouterLoads{.loads = to.loads, .counts = view.counts});
  run(ctx,
      SumTokens{.dparam = to.probability_sums, .x = view.probability_sums, .accumulate = false});
  copy(ctx, to.statistics, view.statistics);
  copy(ctx, to.dropped, view.dropped);
  constexpr std::int64_t kMaxima = RouterForward::kLargestLogit;
  for (const Tensor& sums :
       {to.loads, to.probability_sums, to.statistics.rows(0, kMaxima), to.dropped})
    join_.reduce_tokens(ctx, sums, Reduce::sum);
  join_.reduce_tokens(ctx, to.statistics.rows(kMaxima, RouterForward::kStatistics), Reduce::max);
}

}  // namespace hg
