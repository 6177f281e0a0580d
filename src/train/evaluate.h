// Loss on held-out data.
#pragma once

#include "data/loader.h"
#include "train/run_model.h"

namespace hg {

/// Losses of one batch, through this rank's chunks, from stage to stage; written where the model
/// ends. On Device::meta sizes memory.
void infer_batch(RunModel& run, const Batch& batch, const TokenLosses& losses);

struct Evaluation {
  double loss = 0;  // mean cross-entropy over targets, in nats
  std::int64_t targets = 0;
};

/// Mean loss over the first `sequences` of `file` (0: all), as far as they fill whole batches, read
/// in order. A batch is a micro-batch of training, and so fits the planned memory. Ranks of the
/// data axis share the sequences. Collective: the same result on every rank.
Evaluation evaluate(RunModel& run, const TokenLosses& losses, const TokenFile& file,
                    const TrainingConfig& training, std::int64_t sequences);

}  // namespace hg
