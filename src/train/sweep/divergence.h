// When a run of a sweep counts as diverged: a rule on its losses alone, so that it says the same of
// a run that was killed and continued.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "train/spikes/moving_window.h"
#include "train/sweep/sweep_config.h"

namespace hg {

struct Divergence {
  std::int64_t step;
  std::string reason;
};

/// A run has diverged at the first step where
/// - the training loss or the gradient's norm is not finite;
/// - the median training loss of the last `window` steps, all behind warm-up, is above the limit;
/// - the last validation loss, or any that is not finite, is above it.
/// Learning rates that are large but not too large lift the loss over the limit for a while, from
/// where it comes down again: hence a long window, and no verdict from a validation in between.
/// The limit is `above_initial` nats over the validation loss before the first step; where there is
/// no validation, over ln V, which is what a model without knowledge has.
class DivergenceRule {
 public:
  /// `expected_loss` is ln V.
  DivergenceRule(const DivergedConfig& config, std::int64_t steps, std::int64_t warmup_steps,
                 double expected_loss);

  /// In the order of steps. Nothing changes once the run has diverged.
  void add_train(std::int64_t step, double loss, double grad_norm);
  void add_validation(std::int64_t step, double loss);

  const std::optional<Divergence>& diverged() const { return diverged_; }

 private:
  double limit() const { return initial_ + above_initial_; }

  double above_initial_;
  std::int64_t steps_, warmup_steps_, window_steps_;
  double initial_;
  MovingMedian window_;  // of training losses behind warm-up
  std::optional<Divergence> diverged_;
};

}  // namespace hg
