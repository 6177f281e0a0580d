// What a run has recorded of one step and of those that led to it: where a replay begins, and what
// it is compared with.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "train/config.h"

namespace hg {

struct RecordedStep {
  double loss = 0, grad_norm = 0;  // NaN where the record has no finite number
  bool skipped = false;            // the update
};

struct StepRecord {
  std::string file;                  // "events.jsonl" or "metrics.jsonl"
  std::string kind;                  // of an event; else ""
  std::filesystem::path checkpoint;  // to begin with; empty: the initial weights
  std::int64_t start = 0;            // its step
  std::int64_t first_sample = 0;     // of the step
  RecordedStep recorded;
  std::map<std::int64_t, RecordedStep> earlier;  // steps behind `start` with the same samples

  /// Of a step between the start and this one. Samples lie end to end there: a run that goes back
  /// passes samples over behind a checkpoint only, and the newest one is where it goes to.
  std::int64_t first_sample_of(std::int64_t earlier_step, std::int64_t step,
                               std::int64_t batch) const {
    return first_sample - (step - earlier_step) * batch;
  }
};

/// Reads events.jsonl, whose last line about the step counts, and metrics.jsonl of the run in
/// `folder`, whose config this is. Begins with the checkpoint that was the newest when an event
/// happened; else with the newest before the step. Throws if nothing is recorded of the step, or if
/// the checkpoint is gone.
StepRecord find_step_record(const RunConfig& config, const std::filesystem::path& folder,
                            std::int64_t step);

}  // namespace hg
