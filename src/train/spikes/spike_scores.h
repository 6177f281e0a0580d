// How spiky a series is: published measures, each a share of its values.
#pragma once

#include <cstdint>

#include "train/spikes/moving_window.h"

namespace hg {

/// So many of so many values.
struct Share {
  std::int64_t outliers = 0, values = 0;

  /// Outliers per `scale` values, such as per 100; NaN if no value was judged.
  double per(double scale) const;
};

/// Judges each value by mean and standard deviation (population) of the values before it.
struct DeviationRule {
  std::int64_t window;  ///< values before; the first so many (the burn-in) are not judged
  double deviations;    ///< how far from the mean an outlier is, in standard deviations
  bool two_sided;       ///< both sides, at least so far; or above only, and farther
};

/// OLMo 2 (arXiv 2501.00656, section 3.2): the percentage of values at least seven standard
/// deviations away from a rolling average of the last 1,000. The paper leaves open whether the
/// value itself is among the 1,000; here, as in OLMo-core, it is not: then one spike in quiet
/// values cannot hide behind the deviation that it makes itself.
inline constexpr DeviationRule kOlmo2{.window = 1000, .deviations = 7, .two_sided = true};

/// StabilityMonitorCallback of OLMo-core: above the mean of the last 128 by more than six standard
/// deviations. There a step counts if its loss or its gradient norm is so, and the total is per
/// step of the run; here each series has its own share, of the values that were judged.
inline constexpr DeviationRule kOlmoCore{.window = 128, .deviations = 6, .two_sided = false};

/// Share of outliers by a DeviationRule. Behind a window whose standard deviation is below 1e-10,
/// no value is an outlier (OLMo-core's rule): in a constant series every value is the mean.
class DeviationScore {
 public:
  explicit DeviationScore(const DeviationRule& rule) : rule_(rule), window_(rule.window) {}

  /// `value` is finite.
  void add(double value);
  Share share() const { return share_; }

 private:
  bool is_outlier(double value) const;

  DeviationRule rule_;
  MovingMoments window_;
  Share share_;
};

/// Share of steps whose loss is above the median of the 201 values centred on it by more than 0.1
/// nats (arXiv 2608.30320, section 3.3, per 10,000 steps). A value is judged once the 100 behind it
/// are there; the first and the last 100 of a series are not judged.
class MedianScore {
 public:
  /// `loss` is finite.
  void add(double loss);
  Share share() const { return share_; }

  static constexpr std::int64_t kWindow = 201;
  static constexpr double kExcess = 0.1;

 private:
  MovingMedian window_{kWindow};
  Share share_;
};

}  // namespace hg
