// Everything that a run says about its loss spikes. Pure host code, the same on every rank: feed a
// SpikeMonitor every step, not the logged subsample, which hides short spikes.
#pragma once

#include <span>
#include <vector>

#include "train/spikes/spike_events.h"
#include "train/spikes/spike_scores.h"

namespace hg {

/// Scores over all steps so far; what they count is said at their rules.
struct SpikeScores {
  Share olmo2, olmo2_grad_norm;  // kOlmo2
  Share core, core_grad_norm;    // kOlmoCore
  Share median201;               // MedianScore, of the loss
};

class SpikeMonitor {
 public:
  /// Steps come in ascending order. What is not finite enters no score.
  void add(const LossPoint& point);

  SpikeScores scores() const;
  const SpikeDetector& events() const { return detector_; }

 private:
  DeviationScore olmo2_{kOlmo2}, olmo2_grad_norm_{kOlmo2};
  DeviationScore core_{kOlmoCore}, core_grad_norm_{kOlmoCore};
  MedianScore median201_;
  SpikeDetector detector_;
};

/// A monitor that has seen the whole series.
SpikeMonitor monitor_spikes(std::span<const LossPoint> points);

}  // namespace hg
