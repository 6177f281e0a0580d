#include "train/spikes/spikes.h"

#include <cmath>

namespace hg {

void SpikeMonitor::add(const LossPoint& point) {
  detector_.add(point);
  if (std::isfinite(point.loss)) {
    olmo2_.add(point.loss);
    core_.add(point.loss);
    median201_.add(point.loss);
  }
  if (std::isfinite(point.grad_norm)) {
    olmo2_grad_norm_.add(point.grad_norm);
    core_grad_norm_.add(point.grad_norm);
  }
}

SpikeScores SpikeMonitor::scores() const {
  return {.olmo2 = olmo2_.share(),
          .olmo2_grad_norm = olmo2_grad_norm_.share(),
          .core = core_.share(),
          .core_grad_norm = core_grad_norm_.share(),
          .median201 = median201_.share()};
}

SpikeMonitor monitor_spikes(std::span<const LossPoint> points) {
  SpikeMonitor monitor;
  for (const LossPoint& point : points) monitor.add(point);
  return monitor;
}

}  // namespace hg
