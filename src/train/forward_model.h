// A trained model that is ready for forward passes: planned, in memory, and loaded.
#pragma once

#include <optional>

#include "train/run_model.h"
#include "train/trained_run.h"

namespace hg {

struct ForwardModel {
  /// For batches of `tokens` in documents of at most `longest`. With `look` there are instruments.
  ForwardModel(const TrainedRun& trained, std::int64_t tokens, std::int64_t longest,
               const std::optional<InstrumentOptions>& look = {});

  void forward(const Batch& batch) {
    run.model.forward(run.ctx, batch, losses, instruments ? &*instruments : nullptr);
  }

  RunModel run;
  TokenLosses losses;
  std::optional<Instruments> instruments;

 private:
  ForwardModel(const RunConfig& config, Device device);
  void lay_out(const RunConfig& config, std::int64_t tokens,
               const std::optional<InstrumentOptions>& look);
};

}  // namespace hg
