#include "train/inspect_attention.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "data/packer.h"
#include "ops/inspect_gate.h"
#include "train/checkpoint.h"
#include "train/run_model.h"

namespace hg {
namespace {

/// One document in which nothing is to be predicted.
HostBatch one_document(std::span<const std::int32_t> tokens) {
  HostBatch batch(std::ssize(tokens));
  batch.tokens.assign(tokens.begin(), tokens.end());
  batch.targets.assign(tokens.size(), -1);
  batch.positions.resize(tokens.size());
  std::iota(batch.positions.begin(), batch.positions.end(), 0);
  batch.documents = {0, static_cast<std::int32_t>(tokens.size())};
  batch.longest = std::ssize(tokens);
  return batch;
}

struct Results {
  TokenLosses losses;
  Instruments instruments;
};

/// Lays out what one forward pass over `tokens` needs beside scratch.
Results lay_out(RunModel& run, const RunConfig& config, std::int64_t tokens,
                const InstrumentOptions& options) {
  run.store.allocate(run.ctx.device, compute_dtype(config.training.precision, run.ctx.cpu),
                     ParamStore::Purpose::inference);
  run.model.make_tables(run.ctx.device, run.tables);
  return {.losses = allocate_losses(run.tables, tokens),
          .instruments = Instruments(config.model, tokens, run.tables, options)};
}

double at(const Tensor& matrix, std::int64_t row, std::int64_t column) {
  return double{matrix.as<float>()[row * matrix.dim(1) + column]};
}

LayerAttention numbers_of(const Instruments::Layer& from, std::int64_t layer,
                          const AttentionMaps& maps, std::int64_t index) {
  LayerAttention result{.layer = layer, .all = {}, .heads = {}};
  const std::int64_t gates = from.gate_heads ? from.gate_heads.dim(0) - 1 : 0;
  result.all.max_logit = -std::numeric_limits<double>::infinity();
  for (std::int64_t head = 0; head < maps.heads; ++head) {
    const AttentionNumbers numbers{
        .first_token = first_token_share(maps.map(index, head)),
        .entropy = at(from.entropy, head, 0),
        .max_logit = at(from.entropy, head, 1),
        .gate = gates == maps.heads ? std::optional(at(from.gate_heads, head, GateScores::kMean))
                                    : std::nullopt};
    result.all.first_token += numbers.first_token / static_cast<double>(maps.heads);
    result.all.entropy += numbers.entropy / static_cast<double>(maps.heads);
    if (!(numbers.max_logit <= result.all.max_logit)) result.all.max_logit = numbers.max_logit;
    result.heads.push_back(numbers);
  }
  if (gates > 0) result.all.gate = at(from.gate_heads, gates, GateScores::kMean);
  return result;
}

void check_length(std::int64_t tokens, const ModelConfig& config) {
  const std::int64_t most = std::min(AttentionMaps::kMostTokens, config.max_position_embeddings);
  HG_CHECK(tokens > 0, "the text is empty: there is no attention to look at");
  HG_CHECK(tokens <= most, "the text has {} tokens; attention maps are made of at most {}{}",
           tokens, most,
           most < AttentionMaps::kMostTokens ? ", where the model's positions end" : "");
}

}  // namespace

AttentionInspection inspect_attention(const TrainedRun& trained,
                                      std::span<const std::int32_t> tokens,
                                      std::span<const std::int64_t> layers) {
  const ModelConfig& config = trained.config.model;
  check_length(std::ssize(tokens), config);
  const CpuInfo cpu = detect_cpu();
  const HostBatch batch = one_document(tokens);
  const InstrumentOptions options{.maps = {layers.begin(), layers.end()}};

  RunModel meta(config, Device::meta, cpu);
  const Results measured = lay_out(meta, trained.config, std::ssize(tokens), options);
  meta.model.forward(meta.ctx, batch.view(), measured.losses, &measured.instruments);

  RunModel run(config, Device::cpu, cpu);
  run.ctx.scratch.reserve(meta.ctx.scratch.high_water());
  run.tables.reserve(meta.tables.high_water());
  const Results seen = lay_out(run, trained.config, std::ssize(tokens), options);
  load_checkpoint(trained.checkpoint, run.store, run.ctx);
  run.model.forward(run.ctx, batch.view(), seen.losses, &seen.instruments);

  AttentionInspection result{.maps = {.layers = std::ssize(layers),
                                      .heads = config.num_attention_heads,
                                      .tokens = std::ssize(tokens),
                                      .layer_numbers = options.maps},
                             .layers = {}};
  for (const std::int32_t& token : tokens)
    result.maps.labels.push_back(trained.tokenizer->decode({&token, 1}));
  for (const std::int64_t layer : layers) {
    const Tensor& map = seen.instruments.layers()[static_cast<std::size_t>(layer)].map;
    result.maps.values.insert(result.maps.values.end(), map.as<float>(),
                              map.as<float>() + map.numel());
  }
  for (std::int64_t i = 0; i < std::ssize(layers); ++i) {
    const std::int64_t layer = layers[static_cast<std::size_t>(i)];
    result.layers.push_back(numbers_of(seen.instruments.layers()[static_cast<std::size_t>(layer)],
                                       layer, result.maps, i));
  }
  return result;
}

std::vector<std::int64_t> representative_layers(std::int64_t layers) {
  std::vector<std::int64_t> chosen;
  for (const std::int64_t quarter : {0, 1, 3, 4}) {
    const std::int64_t layer = quarter * (layers - 1) / 4;
    if (chosen.empty() || layer > chosen.back()) chosen.push_back(layer);
  }
  return chosen;
}

}  // namespace hg
