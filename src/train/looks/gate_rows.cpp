#include "train/looks/gate_rows.h"

#include <algorithm>
#include <map>

#include "ops/inspect_activations.h"
#include "ops/inspect_gate.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;
using Layer = Instruments::Layer;

constexpr std::pair<GateScores::Statistic, const char*> kGateStatistics[] = {
    {GateScores::kMean, "mean"},
    {GateScores::kQuantile01, "p01"},
    {GateScores::kMedian, "p50"},
    {GateScores::kQuantile99, "p99"},
    {GateScores::kShareBelow005, "below_0.05"},
    {GateScores::kShareBelow01, "below_0.1"},
    {GateScores::kShareBelow05, "below_0.5"},
    {GateScores::kShareAbove095, "above_0.95"},
    {GateScores::kLargestLogit, "max_logit"}};

Json token_list(const std::vector<GatedToken>& tokens, const Tokenizer& tokenizer) {
  Json result = Json::array();
  for (const GatedToken& token : tokens) {
    result.push_back({{"id", token.id},
                      {"text", tokenizer.decode(std::span(&token.id, 1))},
                      {"score", token.score},
                      {"count", token.count}});
  }
  return result;
}

Histogram gate_histogram(const Layer& layer) {
  Histogram result{.min = 0, .max = 1, .sum = 0, .sum_squares = 0, .limits = {}, .counts = {}};
  for (std::int64_t bin = 0; bin < GateScores::kBins; ++bin) {
    double count = 0;
    for (std::int64_t head = 0; head < layer.gate_histogram.dim(0); ++head)
      count += at(layer.gate_histogram, head, bin);
    const double width = 1.0 / static_cast<double>(GateScores::kBins);
    const double middle = (static_cast<double>(bin) + 0.5) * width;
    result.limits.push_back(static_cast<double>(bin + 1) * width);
    result.counts.push_back(count);
    result.sum += count * middle;
    result.sum_squares += count * middle * middle;
  }
  return result;
}

}  // namespace

void add_gate_summary(LayerRows& rows) {
  for (const auto& [statistic, name] : kGateStatistics) {
    const bool each = statistic == GateScores::kMean || statistic == GateScores::kShareBelow01;
    rows.add(fmt::format("gate/{}", name), statistic == GateScores::kLargestLogit, each,
             [&, which = statistic](const Layer& layer) {
               return at(layer.gate_heads, layer.gate_heads.dim(0) - 1, which);
             });
  }
  for (const auto& [statistic, name] : {std::pair{Magnitudes::kMean, "mean_abs"},
                                        std::pair{Magnitudes::kShareBelow1e2, "below_1e-2"},
                                        std::pair{Magnitudes::kShareBelow1e3, "below_1e-3"}}) {
    const auto which = statistic;
    rows.add(fmt::format("gate_input/{}", name), false, false,
             [=](const Layer& layer) { return at(layer.gated_from, which); });
    rows.add(fmt::format("gate_output/{}", name), false, false,
             [=](const Layer& layer) { return at(layer.gated, which); });
  }
}

Json gate_details(const Layer& layer, std::span<const std::int32_t> tokens,
                  const Tokenizer& tokenizer) {
  constexpr std::int64_t kLeast = 4;
  constexpr std::size_t kMost = 8;
  Json result;
  const std::int64_t heads = layer.gate_histogram.dim(0);
  for (const auto& [statistic, name] : kGateStatistics) {
    result[name] = at(layer.gate_heads, heads, statistic);
    result[fmt::format("{}_of_heads", name)] = column_of(layer.gate_heads, statistic, heads);
  }
  Json& histogram = result["histogram"] = Json::array();
  for (std::int64_t head = 0; head < heads; ++head) {
    Json counts = Json::array();
    for (std::int64_t bin = 0; bin < GateScores::kBins; ++bin)
      counts.push_back(static_cast<std::int64_t>(at(layer.gate_histogram, head, bin)));
    histogram.push_back(std::move(counts));
  }
  const std::span scores(layer.gate_tokens.as<float>(), tokens.size());
  const ExtremeTokens extreme = extreme_tokens(tokens, scores, kLeast, kMost);
  result["opened_by"] = token_list(extreme.open, tokenizer);
  result["closed_by"] = token_list(extreme.closed, tokenizer);
  return result;
}

std::vector<NamedHistogram> gate_histograms(const Instruments& instruments) {
  std::vector<NamedHistogram> result;
  for (const Layer& layer : instruments.layers()) {
    if (!layer.gate_histogram) continue;
    result.push_back({fmt::format("gate/scores/layers.{}", result.size()), gate_histogram(layer)});
  }
  return result;
}

ExtremeTokens extreme_tokens(std::span<const std::int32_t> tokens, std::span<const float> scores,
                             std::int64_t least, std::size_t most) {
  std::map<std::int32_t, GatedToken> by_id;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    GatedToken& token = by_id.try_emplace(tokens[i], GatedToken{tokens[i], 0, 0}).first->second;
    token.score += double{scores[i]};
    ++token.count;
  }
  std::vector<GatedToken> seen;
  for (auto& [id, token] : by_id) {
    token.score /= static_cast<double>(token.count);
    if (token.count >= least && !std::isnan(token.score)) seen.push_back(token);
  }
  const auto first = [&](auto&& before) {
    std::vector<GatedToken> result = seen;
    std::ranges::stable_sort(result, before, &GatedToken::score);
    result.resize(std::min(most, result.size()));
    return result;
  };
  return {.closed = first(std::ranges::less{}), .open = first(std::ranges::greater{})};
}

}  // namespace hg
