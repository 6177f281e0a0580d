// Where a run begins: at step 0 with weights that are drawn or another run's, or where it was
// interrupted.
#pragma once

#include <vector>

#include "train/checkpoint/same_run.h"
#include "train/run_folder.h"
#include "train/run_model.h"
#include "train/spikes/spike_events.h"

namespace hg {

struct Start {
  TrainState state;
  std::vector<LossPoint> losses_behind;  // on rank 0: what the run had logged when interrupted
  Repeats repeats = Repeats::no;         // how near to them its losses now must be
};

/// Gives the model the weights of a fresh run: drawn, or of checkpoint.init_from. Collective.
void begin_fresh(const RunConfig& config, RunModel& run);

/// Gives the model its weights and, from a checkpoint, its moments. Throws what RunFolder and
/// check_same_run say. Collective.
Start start_run(const RunConfig& config, const RunFolder& folder, const Fingerprints& fingerprints,
                RunModel& run);

}  // namespace hg
