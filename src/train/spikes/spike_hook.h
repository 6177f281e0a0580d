// Loss spikes of a run that is training: events as they end, scores as they stand.
#pragma once

#include <filesystem>

#include "train/hooks.h"
#include "train/spikes/spikes.h"

namespace hg {

/// Feeds every step to a SpikeMonitor. An event becomes a row of kind "event" at the step it ends,
/// or at the end of the run if it is still open; scores become a row of kind "spikes" every
/// metrics.log_interval steps, those that are defined by then.
class SpikeHook : public Hook {
 public:
  /// `history` is the run's metrics.jsonl, whose rows up to the first step of this process make the
  /// monitor what it was: a resumed run reports what an uninterrupted one does. It may be missing.
  SpikeHook(Sinks& sinks, const std::filesystem::path& history);

  void after_step(Trainer& trainer, const StepResult& result) override;
  void rewound(Trainer& trainer, const StepResult& result) override;
  void end(Trainer& trainer) override;

 private:
  void write_event(const Trainer& trainer, const SpikeEvent& event);
  void write_scores(const Trainer& trainer);

  Sinks& sinks_;
  std::filesystem::path history_;
  SpikeMonitor monitor_;
  std::size_t reported_ = 0;  // of monitor_.events().ended()
};

}  // namespace hg
