#include "train/inspect/inspect_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "data/packer.h"
#include "ops/inspect_gate.h"
#include "train/forward_model.h"

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

double at(const Tensor& matrix, std::int64_t row, std::int64_t column) {
  return double{matrix.as<float>()[row * matrix.dim(1) + column]};
}

LayerAttention numbers_of(std::int64_t layer, const Instruments::Layer& seen,
                          const AttentionMaps& maps, std::int64_t index) {
  LayerAttention result{.layer = layer, .all = {}, .heads = {}};
  AttentionNumbers& all = result.all;
  const auto heads = static_cast<double>(maps.heads);
  const std::int64_t gates = seen.gate_heads ? seen.gate_heads.dim(0) - 1 : 0;
  if (gates > 0) all.gate = at(seen.gate_heads, gates, GateScores::kMean);
  all.max_logit = -std::numeric_limits<double>::infinity();
  for (std::int64_t head = 0; head < maps.heads; ++head) {
    AttentionNumbers& one = result.heads.emplace_back();
    one.first_token = first_token_share(maps.map(index, head));
    one.entropy = at(seen.entropy, head, 0);
    one.max_logit = at(seen.entropy, head, 1);
    if (gates == maps.heads) one.gate = at(seen.gate_heads, head, GateScores::kMean);
    all.first_token += one.first_token / heads;
    all.entropy += one.entropy / heads;
    if (one.max_logit > all.max_logit || std::isnan(one.max_logit)) all.max_logit = one.max_logit;
  }
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
  ForwardModel model(trained, std::ssize(tokens), std::ssize(tokens),
                     InstrumentOptions{.maps = {layers.begin(), layers.end()}});
  model.forward(one_document(tokens).view());
  const auto& seen = model.instruments->layers();

  AttentionInspection result{.maps = {.layers = std::ssize(layers),
                                      .heads = config.num_attention_heads,
                                      .tokens = std::ssize(tokens),
                                      .layer_numbers = {layers.begin(), layers.end()}},
                             .layers = {}};
  for (const std::int32_t& token : tokens)
    result.maps.labels.push_back(trained.tokenizer->decode({&token, 1}));
  for (const std::int64_t layer : layers) {
    const Instruments::Layer& record = seen[static_cast<std::size_t>(layer)];
    const std::span values(record.map.as<float>(), static_cast<std::size_t>(record.map.numel()));
    result.maps.values.insert(result.maps.values.end(), values.begin(), values.end());
    result.layers.push_back(numbers_of(layer, record, result.maps, std::ssize(result.layers)));
  }
  return result;
}

std::vector<std::int64_t> representative_layers(std::int64_t layers) {
  const std::int64_t last = layers - 1;
  if (layers > 4) return {0, last / 4, 3 * last / 4, last};
  std::vector<std::int64_t> all(static_cast<std::size_t>(layers));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace hg
