// Tells when the routing of a layer goes wrong, from the summaries of looks.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "model/moe_config.h"
#include "train/metrics/tensorboard.h"

namespace hg {

/// A layer whose routing goes wrong, at the look where that begins.
struct RoutingAlarm {
  std::int64_t layer;
  double load_entropy, max_load;
  std::int64_t dead_experts;
};

/// The routing of a layer goes wrong at a look whose load entropy is below kLeastEntropy or which
/// has dead experts. The alarm begins there, and is over behind kQuietLooks looks in a row without:
/// what comes and goes is said once. Dead experts count only where an expert gets kLeastChoices on
/// average: of few choices, an even router too misses some expert now and then.
class RouterWatch {
 public:
  static constexpr double kLeastEntropy = 0.5;
  static constexpr std::int64_t kQuietLooks = 10;
  static constexpr std::int64_t kLeastChoices = 32;

  /// A look sees `tokens` tokens.
  RouterWatch(const MoeConfig& config, std::int64_t tokens)
      : counts_dead_(config.num_experts > 0 &&
                     tokens * config.top_k >= kLeastChoices * config.num_experts) {}

  /// Takes in router_summary() of the next look; other values may stand between. Returns the layers
  /// whose alarm begins.
  std::vector<RoutingAlarm> see(std::span<const NamedValue> values);
  /// Takes in the looks of a metrics.jsonl, if there is one: a resumed run warns as an
  /// uninterrupted one does.
  void see_history(const std::filesystem::path& metrics);

 private:
  bool counts_dead_;
  std::map<std::int64_t, std::int64_t> quiet_;  // looks in a row, of layers whose alarm is not over
};

/// "layer 3: load entropy 0.412, 2 of 64 experts dead, the busiest at 9.10 times the mean load"; of
/// many layers the first few; then the keys of the config that act on it.
std::string describe(std::span<const RoutingAlarm> alarms, const MoeConfig& config);

}  // namespace hg
