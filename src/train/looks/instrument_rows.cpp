#include "train/looks/instrument_rows.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "ops/inspect_activations.h"
#include "train/looks/gate_rows.h"
#include "train/looks/router_rows.h"
#include "train/metrics/metrics.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;
using Layer = Instruments::Layer;

constexpr std::pair<Magnitudes::Statistic, const char*> kMagnitudes[] = {
    {Magnitudes::kMax, "max"},
    {Magnitudes::kToken, "token"},
    {Magnitudes::kChannel, "channel"},
    {Magnitudes::kMean, "mean"},
    {Magnitudes::kRms, "rms"},
    {Magnitudes::kShareBelow1e2, "below_1e-2"},
    {Magnitudes::kShareBelow1e3, "below_1e-3"},
    {Magnitudes::kNonFinite, "non_finite"}};

Running over_heads(const Tensor& heads, std::int64_t column) {
  Running result;
  for (std::int64_t head = 0; head < heads.dim(0); ++head) result.add(at(heads, head, column));
  return result;
}

void add_massive_activations(LayerRows& rows, const std::vector<Layer>& layers) {
  constexpr auto kMlp = static_cast<std::size_t>(Branch::mlp);
  const auto output = [](const Layer& layer) { return layer.stream[kMlp]; };
  rows.add(metric::kMAct, false, false,
           [&](const Layer& layer) { return at(output(layer), Magnitudes::kMax); });
  rows.add(metric::kMaxActivation, true, true,
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

Json magnitudes(const Tensor& values) {
  Json result;
  for (const auto& [statistic, name] : kMagnitudes) result[name] = at(values, statistic);
  return result;
}

}  // namespace

std::vector<NamedValue> instrument_summary(const Instruments& instruments) {
  LayerRows rows(instruments);
  if (instruments.layers().front().gate_heads) add_gate_summary(rows);
  const auto head_mean = [&](const char* name, bool each, Tensor Layer::*heads,
                             std::int64_t column) {
    rows.add(name, false, each,
             [=](const Layer& layer) { return over_heads(layer.*heads, column).mean(); });
  };
  head_mean(metric::kFirstToken, true, &Layer::first_token, 0);
  head_mean("attention/first_token_from_64", false, &Layer::first_token, 1);
  head_mean("attention/entropy", true, &Layer::entropy, 0);
  rows.add(metric::kMaxLogit, true, true,
           [](const Layer& layer) { return over_heads(layer.entropy, 1).max; });
  rows.add("attention/output_mean_abs", false, false,
           [](const Layer& layer) { return at(layer.sdpa, Magnitudes::kMean); });
  add_massive_activations(rows, instruments.layers());
  std::ranges::move(router_summary(routed_layers(instruments)), std::back_inserter(rows.values));
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
  const std::vector<RoutedLayer> routed = routed_layers(instruments);
  auto next = routed.begin();
  Json layers = Json::array();
  for (const Layer& layer : instruments.layers()) {
    Json row;
    const std::int64_t heads = layer.first_token.dim(0);
    if (layer.gate_heads) {
      row["gate"] = gate_details(layer, tokens, tokenizer);
      row["gate_input"] = magnitudes(layer.gated_from);
      row["gate_output"] = magnitudes(layer.gated);
    }
    row["attention"] = {{"first_token", column_of(layer.first_token, 0, heads)},
                        {"first_token_from_64", column_of(layer.first_token, 1, heads)},
                        {"entropy", column_of(layer.entropy, 0, heads)},
                        {"max_logit", column_of(layer.entropy, 1, heads)}};
    row["attention_output"] = magnitudes(layer.sdpa);
    row["attention_branch"] = magnitudes(layer.branch[0]);
    row["stream_behind_attention"] = magnitudes(layer.stream[0]);
    row["mlp_branch"] = magnitudes(layer.branch[1]);
    row["stream_behind_mlp"] = magnitudes(layer.stream[1]);
    if (layer.router) row["experts"] = router_details(*next++);
    layers.push_back(std::move(row));
  }
  return {{"layers", std::move(layers)}};
}

}  // namespace hg
