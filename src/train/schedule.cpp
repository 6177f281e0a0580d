#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace hg {

void LrSchedule::check() const {
  HG_CHECK(peak > 0 && std::isfinite(peak), "the peak learning rate is {}, expected above 0", peak);
  HG_CHECK(0 <= floor && floor <= peak,
           "the lowest learning rate is {}, expected 0 to the peak of {}", floor, peak);
  HG_CHECK(total_steps > 0, "a schedule over {} steps", total_steps);
  HG_CHECK(0 <= warmup_steps, "{} warm-up steps", warmup_steps);
  HG_CHECK(
      kind != ScheduleKind::wsd || (0 < decay_steps && warmup_steps + decay_steps <= total_steps),
      "{} decay steps, expected 1 to the {} that warm-up leaves of {}", decay_steps,
      total_steps - warmup_steps, total_steps);
}

double LrSchedule::at(std::int64_t step) const {
  if (step < warmup_steps) {
    return peak * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  }
  const std::int64_t decay = kind == ScheduleKind::wsd ? decay_steps : total_steps - warmup_steps;
  const std::int64_t decayed = std::min(step + 1, total_steps) - (total_steps - decay);
  if (kind == ScheduleKind::constant || decayed <= 0) return peak;
  const double progress = static_cast<double>(decayed) / static_cast<double>(decay);
  const double factor =
      kind == ScheduleKind::cosine ? (1 + std::cos(std::numbers::pi * progress)) / 2 : 1 - progress;
  return floor + (peak - floor) * factor;
}

}  // namespace hg
