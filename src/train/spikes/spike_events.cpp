#include "train/spikes/spike_events.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace hg {

const char* name_of(SpikeEvent::Kind kind) {
  switch (kind) {
    case SpikeEvent::Kind::spike:
      return "spike";
    case SpikeEvent::Kind::shift:
      return "shift";
    case SpikeEvent::Kind::not_finite:
      return "not finite";
  }
  return "";
}

void SpikeDetector::add(const LossPoint& point) {
  HG_CHECK(!previous_ || previous_->step < point.step, "step {} behind step {}, expected a later",
           point.step, previous_->step);
  if (std::isfinite(point.loss)) {
    end(not_finite_, point);
    if (point.loss > 0) add_finite(point);
  } else if (!not_finite_) {
    not_finite_ = {.kind = SpikeEvent::Kind::not_finite, .start = point.step};
    set_peak(*not_finite_, point);
  }
  previous_ = point;
}

std::vector<SpikeEvent> SpikeDetector::open() const {
  std::vector<SpikeEvent> events;
  for (const auto& event : {spike_, not_finite_}) {
    if (!event) continue;
    events.push_back(*event);
    events.back().open = true;
    events.back().end = previous_->step;
  }
  return events;
}

void SpikeDetector::add_finite(const LossPoint& point) {
  const double x = std::log(point.loss);
  if (!window_.full()) return window_.add(x);

  const double z = window_.z(x, kLeastDeviation);
  if (!spike_ && z <= kBegin) return window_.add(x);
  if (!spike_) {
    spike_ = {.start = point.step};
    outside_.clear();
    outside_count_ = 0;
  }
  if (z > kEnd && point.loss > spike_->loss) {
    set_peak(*spike_, point);
    spike_->height = point.loss - std::exp(window_.median());
    spike_->z = z;
  }
  follow(point, x, z);
}

void SpikeDetector::follow(const LossPoint& point, double x, double z) {
  if (z <= kEnd) {
    end(spike_, point);
    return window_.add(x);
  }
  outside_.add(x);
  if (++outside_count_ < kShift) return;
  spike_->kind = SpikeEvent::Kind::shift;
  end(spike_, point);
  window_ = outside_;
}

void SpikeDetector::set_peak(SpikeEvent& event, const LossPoint& point) const {
  event.peak = point.step;
  event.loss = point.loss;
  const bool first = point.step == 1;
  const bool neighbour = previous_ && previous_->step == point.step - 1 && previous_->tokens > 0;
  if (point.tokens == 0 || !(first || neighbour)) {
    event.tokens_before = event.tokens_after = 0;
    return;
  }
  event.tokens_before = first ? 0 : previous_->tokens;
  event.tokens_after = point.tokens;
}

void SpikeDetector::end(std::optional<SpikeEvent>& event, const LossPoint& point) {
  if (!event) return;
  event->end = point.step;
  ended_.push_back(*event);
  event.reset();
}

}  // namespace hg
