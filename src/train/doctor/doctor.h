// What the doctor says: judges what ranks have found out, a line for each subject.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dist/link_probe.h"
#include "train/doctor/doctor_facts.h"

namespace hg {

enum class Severity { ok, warning, error };
std::string_view name_of(Severity severity);

struct Finding {
  Severity severity;
  std::string subject;  // "clocks"
  std::string text;     // one line

  /// "warning  clocks        rank 3 is ..."
  std::string to_string() const;
};

/// Launcher, nodes, build, processors, cores, and variables for devices if there are any.
std::vector<Finding> judge_nodes(std::span<const RankFacts> ranks);

/// What ranks compute on and, with a config, how much of its memory a run takes; nothing unless it
/// is GPUs.
std::vector<Finding> judge_gpus(std::span<const RankFacts> ranks);

/// Config, layout, memory of the host and data; nothing without a config.
std::vector<Finding> judge_config(std::span<const RankFacts> ranks);

Finding judge_folder(std::span<const RankFacts> ranks);

/// Of at least two ranks. An offset of more than a tenth of a second makes times in logs and flight
/// records misleading.
Finding judge_clocks(std::span<const ClockOffset> clocks);

/// Latency and bandwidth of pairs, those on one node apart from those between nodes. A pair that is
/// four times slower than the median of its kind is a warning.
std::vector<Finding> judge_pairs(std::span<const PairLink> pairs, std::span<const RankFacts> ranks);

/// A line for each kind of collective.
std::vector<Finding> report_collectives(std::span<const CollectiveSpeed> speeds);

/// How many devices CUDA makes visible for a value of CUDA_VISIBLE_DEVICES: those before the first
/// that is none.
int visible_devices(std::string_view value);

}  // namespace hg
