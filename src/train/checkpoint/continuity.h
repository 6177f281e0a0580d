// The proof that a resumed run is the run that was interrupted: the losses of steps that it
// computes once more.
#pragma once

#include <filesystem>
#include <span>
#include <vector>

#include "train/checkpoint/same_run.h"
#include "train/hooks.h"
#include "train/spikes/spike_events.h"

namespace hg {

/// In a run's folder: losses that it is to be compared with, until it has been.
inline constexpr char kInterruptedLosses[] = "interrupted.jsonl";

/// Losses that the run in `folder` had logged behind the state that it continues from: the first
/// `most` of them, as far as their `tokens` say that they are of the samples that come next. Behind
/// a rewind they are of others. What keep_losses has kept counts before metrics.jsonl.
std::vector<LossPoint> losses_behind(const std::filesystem::path& folder, const TrainState& state,
                                     std::int64_t tokens_per_step, std::size_t most = 100);

/// Keeps them as kInterruptedLosses, before metrics.jsonl forgets them: else a start that fails the
/// comparison would be what the next one is compared with. None: nothing is kept any more.
void keep_losses(const std::filesystem::path& folder, std::span<const LossPoint> losses);

/// Compares the first steps of a resumed run with what they were before, until the run goes back.
/// Where bits must repeat and do not, it says so once; a first step that differs by more than
/// kMost, relative, is an error: then the checkpoint, the data or the machine is not what it was.
/// Once it has agreed, nothing is kept any more.
class ContinuityHook : public Hook {
 public:
  /// `folder` is the run's.
  ContinuityHook(Sinks& sinks, std::filesystem::path folder, std::vector<LossPoint> before,
                 Repeats repeats)
      : sinks_(sinks), folder_(std::move(folder)), before_(std::move(before)), repeats_(repeats) {}
  void after_step(Trainer& trainer, const StepResult& result) override;
  void rewound(Trainer&, const StepResult&) override { next_ = before_.size(); }

  static constexpr double kMost = 1e-2;

 private:
  void conclude(const Trainer& trainer, std::string sentence);

  Sinks& sinks_;
  std::filesystem::path folder_;
  std::vector<LossPoint> before_;
  Repeats repeats_;
  std::size_t next_ = 0;
};

}  // namespace hg
