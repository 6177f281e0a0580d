// How a run loaded its experts, look by look, as its instruments.jsonl says.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/looks/router_rows.h"

namespace hg {

struct ExpertLook {
  std::int64_t step = 0;
  std::vector<RoutedLayer> layers = {};
};

struct ExpertHistory {
  /// By ascending steps, with the same layers and numbers of experts in all. `experts` is kept of
  /// the layers of one alone: the one that is shown.
  std::vector<ExpertLook> looks;
  std::size_t shown = 0;
  /// The number of half a line at the end, left by a crash and passed over.
  std::optional<std::int64_t> unfinished;

  const ExpertLook& look() const { return looks[shown]; }
};

/// Reads RUN/instruments.jsonl to show the look at `step`, or the newest one. Throws if there is no
/// such look, or none with layers of experts.
ExpertHistory read_expert_history(const std::filesystem::path& run,
                                  std::optional<std::int64_t> step = {});

/// "100 to 900 every 100, 950, 1000": ascending steps in short.
std::string list_steps(const std::vector<ExpertLook>& looks);

}  // namespace hg
