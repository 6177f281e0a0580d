#include "train/instrument_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
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
constexpr std::pair<Magnitudes::Statistic, const char*> kMagnitudes[] = {
    {Magnitudes::kMax, "max"},
    {Magnitudes::kToken, "token"},
    {Magnitudes::kChannel, "channel"},
    {Magnitudes::kMean, "mean"},
    {Magnitudes::kRms, "rms"},
    {Magnitudes::kShareBelow1e2, "below_1e-2"},
    {Magnitudes::kShareBelow1e3, "below_1e-3"},
    {Magnitudes::kNonFinite, "non_finite"}};

double at(const Tensor& values, std::int64_t i) { return double{values.as<float>()[i]}; }
double at(const Tensor& matrix, std::int64_t row, std::int64_t column) {
  return at(matrix, row * matrix.dim(1) + column);
}

/// Mean and maximum; the maximum is NaN if a value is.
struct Running {
  double sum = 0, max = -std::numeric_limits<double>::infinity();
  std::int64_t count = 0;

  void add(double value) {
    sum += value;
    if (!std::isnan(max) && !(value <= max)) max = value;
    ++count;
  }
  double mean() const { return sum / static_cast<double>(count); }
};

Running over_heads(const Tensor& heads, std::int64_t column) {
  Running result;
  for (std::int64_t head = 0; head < heads.dim(0); ++head) result.add(at(heads, head, column));
  return result;
}

/// One value per layer, and the aggregate of them all.
class Rows {
 public:
  explicit Rows(const Instruments& instruments) : instruments_(instruments) {}

  /// Adds `name`, the mean (or, if asked, the maximum) over layers of value(layer); each layer's
  /// own behind it if `each`.
  template <class Value>
  void add(const std::string& name, bool maximum, bool each, Value&& value) {
    Running all;
    for (const Layer& layer : instruments_.layers()) all.add(value(layer));
    values.push_back({name, maximum ? all.max : all.mean()});
    if (!each) return;
    int i = 0;
    for (const Layer& layer : instruments_.layers())
      values.push_back({fmt::format("{}/layers.{}", name, i++), value(layer)});
  }

  std::vector<NamedValue> values;

 private:
  const Instruments& instruments_;
};

void add_gate(Rows& rows) {
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

void add_massive_activations(Rows& rows, const std::vector<Layer>& layers) {
  constexpr auto kMlp = static_cast<std::size_t>(Branch::mlp);
  const auto output = [](const Layer& layer) { return layer.stream[kMlp]; };
  rows.add("activation/m_act", false, false,
           [&](const Layer& layer) { return at(output(layer), Magnitudes::kMax); });
  rows.add("activation/max", true, true,
           [&](const Layer& layer) { return at(output(layer), Magnitudes::kMax); });
  rows.add("activation/mean_abs", false, false,
           [&](const Layer& layer) { return at(output(layer), Magnitudes::kMean); });
  const auto largest = std::ranges::max_element(
      layers, {}, [&](const Layer& layer) { return at(output(layer), Magnitudes::kMax); });
  rows.values.push_back(
      {"activation/max_in_layer", static_cast<double>(std::distance(layers.begin(), largest))});
  rows.values.push_back({"activation/max_at_channel", at(output(*largest), Magnitudes::kChannel)});
  rows.values.push_back({"activation/max_at_token", at(output(*largest), Magnitudes::kToken)});
  for (const auto branch : {Branch::attention, Branch::mlp}) {
    const auto which = static_cast<std::size_t>(branch);
    rows.add(which == kMlp ? "activation/max_mlp_output" : "activation/max_attention_output", true,
             false, [=](const Layer& layer) { return at(layer.branch[which], Magnitudes::kMax); });
  }
}

Json columns_of(const Tensor& heads, std::int64_t column, std::int64_t rows) {
  Json result = Json::array();
  for (std::int64_t head = 0; head < rows; ++head) result.push_back(at(heads, head, column));
  return result;
}

Json magnitudes(const Tensor& values) {
  Json result;
  for (const auto& [statistic, name] : kMagnitudes) result[name] = at(values, statistic);
  return result;
}

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

Json gate_details(const Layer& layer, std::span<const std::int32_t> tokens,
                  const Tokenizer& tokenizer) {
  constexpr std::int64_t kLeast = 4;
  constexpr std::size_t kMost = 8;
  Json result;
  const std::int64_t heads = layer.gate_histogram.dim(0);
  for (const auto& [statistic, name] : kGateStatistics) {
    result[name] = at(layer.gate_heads, heads, statistic);
    result[fmt::format("{}_of_heads", name)] = columns_of(layer.gate_heads, statistic, heads);
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

}  // namespace

std::vector<NamedValue> instrument_summary(const Instruments& instruments) {
  Rows rows(instruments);
  if (instruments.layers().front().gate_heads) add_gate(rows);
  const auto head_mean = [&](const char* name, bool each, Tensor Layer::*heads,
                             std::int64_t column) {
    rows.add(name, false, each,
             [=](const Layer& layer) { return over_heads(layer.*heads, column).mean(); });
  };
  head_mean("attention/first_token", true, &Layer::first_token, 0);
  head_mean("attention/first_token_from_64", false, &Layer::first_token, 1);
  head_mean("attention/entropy", true, &Layer::entropy, 0);
  rows.add("attention/max_logit", true, true,
           [](const Layer& layer) { return over_heads(layer.entropy, 1).max; });
  rows.add("attention/output_mean_abs", false, false,
           [](const Layer& layer) { return at(layer.sdpa, Magnitudes::kMean); });
  add_massive_activations(rows, instruments.layers());
  std::erase_if(rows.values, [](const NamedValue& value) { return std::isnan(value.second); });
  return std::move(rows.values);
}

std::vector<NamedValue> update_summary(const std::vector<UpdateGroup>& groups) {
  std::map<std::string, UpdateSums> sums;
  for (const UpdateGroup& group : groups) {
    sums[group.kind].add(group.sums);
    if (group.unit != group.kind) sums[group.unit].add(group.sums);
    if (group.kind == "gate") sums["gate/" + group.unit].add(group.sums);
  }
  std::vector<NamedValue> values;
  for (const auto& [name, sum] : sums) {
    values.push_back({"grad_norm/" + name, std::sqrt(sum.gradient)});
    values.push_back({"weight_norm/" + name, std::sqrt(sum.weight)});
    if (sum.weight > 0)
      values.push_back({"update_ratio/" + name, std::sqrt(sum.update / sum.weight)});
  }
  return values;
}

Json instrument_details(const Instruments& instruments, std::span<const std::int32_t> tokens,
                        const Tokenizer& tokenizer) {
  Json layers = Json::array();
  for (const Layer& layer : instruments.layers()) {
    Json row;
    const std::int64_t heads = layer.first_token.dim(0);
    if (layer.gate_heads) {
      row["gate"] = gate_details(layer, tokens, tokenizer);
      row["gate_input"] = magnitudes(layer.gated_from);
      row["gate_output"] = magnitudes(layer.gated);
    }
    row["attention"] = {{"first_token", columns_of(layer.first_token, 0, heads)},
                        {"first_token_from_64", columns_of(layer.first_token, 1, heads)},
                        {"entropy", columns_of(layer.entropy, 0, heads)},
                        {"max_logit", columns_of(layer.entropy, 1, heads)}};
    row["attention_output"] = magnitudes(layer.sdpa);
    row["attention_branch"] = magnitudes(layer.branch[0]);
    row["stream_behind_attention"] = magnitudes(layer.stream[0]);
    row["mlp_branch"] = magnitudes(layer.branch[1]);
    row["stream_behind_mlp"] = magnitudes(layer.stream[1]);
    layers.push_back(std::move(row));
  }
  return {{"layers", std::move(layers)}};
}

namespace {

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
