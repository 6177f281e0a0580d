// Learning rate over the steps of a run.
#pragma once

#include <cstdint>

namespace hg {

enum class ScheduleKind { cosine, linear, wsd, constant };

/// A pure function of the step, so that there is no state to save. With W warm-up, D decay and T
/// total steps, and s = 0 for the first update:
///   s < W         peak (s + 1) / W
///   then          peak until the decay, which is the last D steps (wsd) or all of them (cosine,
///   linear) in the decay  floor + (peak - floor) f(p),  p = (s + 1 - (T - D)) / D
///                 f(p) = (1 + cos(pi p)) / 2 for cosine, 1 - p for linear and wsd
/// The last warm-up step has the peak and the last step of all has the floor, exactly; later steps
/// stay there. `constant` has no decay. WSD: warm-up, stable, decay (Hu et al., MiniCPM, 2024).
struct LrSchedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double peak = 0, floor = 0;
  std::int64_t warmup_steps = 0;
  std::int64_t decay_steps = 0;  ///< wsd only
  std::int64_t total_steps = 0;

  /// Throws if the numbers do not fit together.
  void check() const;
  double at(std::int64_t step) const;
};

}  // namespace hg
