// Measures checkpoints against the disk they go to.
#pragma once

#include <filesystem>

#include "train/config.h"

namespace hg {

/// Medians of several rounds, whose parts take turns.
struct CheckpointTiming {
  std::size_t bytes = 0;     // of a checkpoint
  double copy_seconds = 0;   // that a step waits for
  double save_seconds = 0;   // from then until it is durable, with nothing else going on
  double write_seconds = 0;  // of as many bytes into one file, and fsync: dd bs=1M conv=fsync
  double save_ratio = 0;     // of the two, round by round
  double load_seconds = 0;   // checking all sums, and loading, with no page of it in memory
  double read_seconds = 0;   // of the same files, likewise
  double load_ratio = 0;
  double step_seconds = 0;      // of steps by themselves
  double overlap_ratio = 0;     // of steps during which a checkpoint is written, to those before
  std::int64_t overlapped = 0;  // such steps, in all rounds
};

/// Steps a model of `config` and saves it in `folder`, which is made, and removed at the end.
CheckpointTiming bench_checkpoint(const RunConfig& config, const CpuInfo& cpu,
                                  const std::filesystem::path& folder, int rounds);

}  // namespace hg
