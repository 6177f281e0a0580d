// A training run from its config to its last line: opens the data, plans and takes memory, resumes
// or initialises, writes the run folder, and lets the trainer go.
#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "dist/comm.h"
#include "train/config.h"
#include "train/rank_place.h"
#include "train/trainer.h"

namespace hg {

struct SessionOptions {
  std::filesystem::path folder;  // of the run
  std::string resolved_config;   // written into it, with the origins of values
  std::FILE* console;            // progress and metrics for the person who watches; may be nullptr
  Comm* world = nullptr;         // all ranks, for memory of the host; null for one alone
  GpuOptions gpu = {};           // for training.device cuda
  std::function<bool()> asked_to_stop = {};  // asked every step: whether to save and end
  /// Called before the first step, to add hooks of the caller's behind those of the run.
  std::function<void(Trainer&)> prepare = {};
  // FLOP/s of a rank that mfu is a share of, 0 for no mfu. Absent: the GPU's by its data sheet, 0 if
  // that is not known; on a processor what products reach on rank 0, measured for most of a second.
  std::optional<double> peak_flops = {};
};

struct SessionSummary {
  std::int64_t steps = 0, tokens = 0;  // of this process
  double seconds = 0;
  double first_validation_loss = 0, last_validation_loss = 0;  // NaN without validation data
  std::int64_t last_validation_step = 0;
  std::filesystem::path checkpoint;
  bool finished = true;  // false if the run was asked to stop, and is to be continued
};

/// Runs the whole of `config`; with a world, as one of its ranks, of which rank 0 writes. Throws on
/// bad input before anything is written, and with everything already written intact afterwards.
SessionSummary train(const RunConfig& config, const SessionOptions& options);

}  // namespace hg
