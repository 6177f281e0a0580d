#include "train/spikes/spike_scores.h"

#include <cmath>
#include <limits>

namespace hg {

double Share::per(double scale) const {
  if (values == 0) return std::numeric_limits<double>::quiet_NaN();
  return scale * static_cast<double>(outliers) / static_cast<double>(values);
}

void DeviationScore::add(double value) {
  if (window_.full()) {
    ++share_.values;
    share_.outliers += is_outlier(value) ? 1 : 0;
  }
  window_.add(value);
}

bool DeviationScore::is_outlier(double value) const {
  const Moments before = window_.moments();
  const double deviation = before.deviation();
  if (deviation < 1e-10) return false;
  const double limit = rule_.deviations * deviation;
  return rule_.two_sided ? std::abs(value - before.mean) >= limit : value - before.mean > limit;
}

void MedianScore::add(double loss) {
  window_.add(loss);
  if (!window_.full()) return;
  ++share_.values;
  share_.outliers += window_[kWindow / 2] > window_.median() + kExcess ? 1 : 0;
}

}  // namespace hg
