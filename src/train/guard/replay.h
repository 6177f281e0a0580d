// Runs one step of a finished run again, twice, to tell data and weights from hardware.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "train/guard/replay_record.h"
#include "train/session.h"

namespace hg {

struct ReplayOptions {
  std::filesystem::path folder;  // of the run, in which nothing is written
  std::int64_t step = 0;
  Comm* world = nullptr;  // as for training: the layout decides in which order is added
  GpuOptions gpu = {};
};

struct StepNumbers {
  double loss = 0, grad_norm = 0;

  /// Bit for bit; what is not finite is alike, as JSON has no word for it.
  bool same_as(const StepNumbers& other) const;
};

struct Replay {
  enum class Outcome {
    repeats,       ///< both replays have the bits that were recorded
    not_recorded,  ///< both have the same, and the record has others
    differs        ///< the replays differ from each other
  };

  StepRecord record;
  StepNumbers recorded, first, second;
  std::int64_t last_sample = 0;
  std::int64_t agree = 0;                ///< earlier steps of the record that both replays had, too
  std::int64_t first_other = 0;          ///< the first that they had not; 0: none
  std::vector<ConfigDifference> config;  ///< of the checkpoint, and of the run
  nlohmann::ordered_json documents;      ///< beginnings of some of the worst micro-batch

  Outcome outcome() const;
  /// What follows from it, in a sentence.
  std::string sentence() const;
};

/// Repeats the steps from StepRecord::checkpoint to `step` twice, from other memory each time, with
/// the config of the run; updates are skipped where the record says so. Collective.
Replay replay(const ReplayOptions& options);

}  // namespace hg
