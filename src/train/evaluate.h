// Loss on held-out data.
#pragma once

#include "data/loader.h"
#include "train/run_model.h"

namespace hg {

struct Evaluation {
  double loss = 0;  // mean cross-entropy over targets, in nats
  std::int64_t targets = 0;
};

/// Mean loss over the first `sequences` of `file` (0: all whole ones), read in order. The batch is
/// that of training, and so fits the planned memory.
Evaluation evaluate(RunModel& run, const TokenLosses& losses, const TokenFile& file,
                    const TrainingConfig& training, std::int64_t sequences);

/// The losses of all tokens, from those of the tokens that this rank of the context axis has: sums
/// over targets, not means.
Evaluation sum_over_context(RunModel& run, const Evaluation& own);

}  // namespace hg
