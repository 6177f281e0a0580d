#include "train/looks/router_watch.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/file.h"
#include "train/metrics/json_lines.h"

namespace hg {
namespace {

/// The layer in "moe/NAME/layers.N"; nothing for another name.
std::optional<std::int64_t> layer_in(std::string_view key, std::string_view name) {
  const std::string start = fmt::format("moe/{}/layers.", name);
  if (!key.starts_with(start)) return {};
  std::int64_t layer = 0;
  std::from_chars(key.data() + start.size(), key.data() + key.size(), layer);
  return layer;
}

/// What a look says of each layer of experts.
std::map<std::int64_t, RoutingAlarm> layers_of(std::span<const NamedValue> values) {
  std::map<std::int64_t, RoutingAlarm> layers;
  const auto of = [&](std::int64_t layer) -> RoutingAlarm& {
    return layers.try_emplace(layer, RoutingAlarm{layer, 1, 1, 0}).first->second;
  };
  for (const auto& [key, value] : values) {
    if (const auto layer = layer_in(key, "load_entropy")) of(*layer).load_entropy = value;
    if (const auto layer = layer_in(key, "max_load")) of(*layer).max_load = value;
    if (const auto layer = layer_in(key, "dead_experts"))
      of(*layer).dead_experts = static_cast<std::int64_t>(value);
  }
  return layers;
}

}  // namespace

std::vector<RoutingAlarm> RouterWatch::see(std::span<const NamedValue> values) {
  std::vector<RoutingAlarm> begin;
  for (const auto& [layer, now] : layers_of(values)) {
    const bool wrong = now.load_entropy < kLeastEntropy || (counts_dead_ && now.dead_experts > 0);
    const auto open = quiet_.find(layer);
    if (wrong) {
      if (open == quiet_.end()) begin.push_back(now);
      quiet_[layer] = 0;
    } else if (open != quiet_.end() && ++open->second == kQuietLooks) {
      quiet_.erase(open);
    }
  }
  return begin;
}

void RouterWatch::see_history(const std::filesystem::path& metrics) {
  if (!std::filesystem::exists(metrics)) return;
  for_each_line(read_file(metrics), [&](std::string_view line, std::int64_t number) {
    if (line.find(R"("instruments")") == std::string_view::npos) return;  // spares parsing
    const auto row = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    HG_CHECK(row.is_object(), "{}:{}: expected a JSON object", metrics.string(), number);
    if (row.value("kind", "") != "instruments") return;
    std::vector<NamedValue> values;
    for (const auto& [name, value] : row.items()) {
      if (name.starts_with("moe/") && value.is_number()) values.push_back({name, value});
    }
    see(values);
  });
}

std::string describe(std::span<const RoutingAlarm> alarms, const MoeConfig& config) {
  constexpr std::size_t kMost = 4;
  std::string text;
  for (const RoutingAlarm& alarm : alarms.first(std::min(kMost, alarms.size()))) {
    text += fmt::format(
        "{}layer {}: load entropy {:.3f}, {} of {} experts dead, the busiest at {:.2f} times the "
        "mean load",
        text.empty() ? "" : "; ", alarm.layer, alarm.load_entropy, alarm.dead_experts,
        config.num_experts, alarm.max_load);
  }
  if (alarms.size() > kMost) text += fmt::format("; and {} more layers", alarms.size() - kMost);
  return text + fmt::format(
                    ". What acts on it: model.moe.aux_loss_coef (now {:g}), "
                    "model.moe.bias_update_rate (now {:g})",
                    config.aux_loss_coef, config.bias_update_rate);
}

}  // namespace hg
