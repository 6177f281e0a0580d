// The proof that a resumed run is the run that was interrupted: the losses of steps that it
// computes once more.
#pragma once

#include <filesystem>
#include <vector>

#include "train/checkpoint/same_run.h"
#include "train/hooks.h"
#include "train/spikes/spike_events.h"

namespace hg {

/// Losses that a run had logged behind its last checkpoint: the first `most` of them.
std::vector<LossPoint> losses_behind(const std::filesystem::path& metrics, std::int64_t step,
                                     std::size_t most = 100);

/// Compares the first steps of a resumed run with what they were before. Where bits must repeat
/// and do not, it says so once; a first step that differs by more than kMost, relative, is an
/// error: then the checkpoint, the data or the machine is not what it was.
class ContinuityHook : public Hook {
 public:
  ContinuityHook(Sinks& sinks, std::vector<LossPoint> before, Repeats repeats)
      : sinks_(sinks), before_(std::move(before)), repeats_(repeats) {}
  void after_step(Trainer& trainer, const StepResult& result) override;

  static constexpr double kMost = 1e-2;

 private:
  void conclude(const Trainer& trainer, std::string sentence);

  Sinks& sinks_;
  std::vector<LossPoint> before_;
  Repeats repeats_;
  std::size_t next_ = 0;
};

}  // namespace hg
