// Loss spikes as events: where one begins, how high it goes, and when it is over.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "train/spikes/moving_window.h"

namespace hg {

/// What a step of a run leaves behind.
struct LossPoint {
  std::int64_t step = 0;
  double loss = 0;                                              ///< nats
  double grad_norm = std::numeric_limits<double>::quiet_NaN();  ///< before clipping; NaN: unknown
  std::int64_t tokens = 0;  ///< trained on until then; 0: unknown
};

struct SpikeEvent {
  enum class Kind {
    spike,
    shift,      ///< the loss did not come back: a new level
    not_finite  ///< NaN or infinity
  };

  Kind kind = Kind::spike;
  bool open = false;       ///< the series ends before the event does
  std::int64_t start = 0;  ///< first step outside
  std::int64_t peak = 0;   ///< step of the highest loss
  std::int64_t end = 0;  ///< first step back, or where a shift is accepted; if open, the last step
  double loss = 0;       ///< at the peak, nats
  double height = 0;     ///< nats above the median; 0 for not_finite
  double z = 0;          ///< at the peak, of log(loss); 0 for not_finite
  /// Tokens trained on before and after the peak's step; both 0 if unknown.
  std::int64_t tokens_before = 0, tokens_after = 0;

  std::int64_t steps() const { return end - start; }
};

/// "spike", "shift", "not finite".
const char* name_of(SpikeEvent::Kind kind);

/// Finds upward outliers of log(loss) by median and MAD, which a few outliers do not move:
///   z = 0.6745 (x - median) / MAD    over the last 100 accepted values, MAD / 0.6745 >= 1e-4
/// (Iglewicz and Hoaglin, 1993; 0.6745 MAD^-1 is one over the standard deviation if x is normal).
/// z > 8 begins an event, z <= 2 ends it, and what lies between is merged into it and kept out of
/// the window. Everything else is accepted: also a sudden fall, which is no spike. Rules for the
/// corners:
/// - The first 100 values are the burn-in: accepted, whatever they are.
/// - Constant losses have MAD = 0; the floor lets only a rise of more than 0.08 % begin an event.
/// - After 500 values outside, the loss has a new level: the event ends as a shift, and the last
///   100 of them become the window.
/// - NaN and infinity are events of their own, until the next finite loss, and enter no window. A
///   loss of 0 or less has no logarithm and is passed over.
class SpikeDetector {
 public:
  static constexpr std::int64_t kWindow = 100, kShift = 500;
  static constexpr double kBegin = 8, kEnd = 2, kLeastDeviation = 1e-4;

  /// Steps come in ascending order.
  void add(const LossPoint& point);
  /// Whether the burn-in is over.
  bool ready() const { return window_.full(); }
  /// Events that are over, in order of their ends.
  const std::vector<SpikeEvent>& ended() const { return ended_; }
  /// Those that are not, as of now.
  std::vector<SpikeEvent> open() const;

 private:
  void add_finite(const LossPoint& point);
  /// Follows the event that is open; `z` of this point, log(loss) = x.
  void follow(const LossPoint& point, double x, double z);
  void set_peak(SpikeEvent& event, const LossPoint& point) const;
  /// Ends an event, if it is open, at this point.
  void end(std::optional<SpikeEvent>& event, const LossPoint& point);

  MovingMedian window_{kWindow};
  MovingMedian outside_{kWindow};  // the newest values of the spike
  std::int64_t outside_count_ = 0;
  std::optional<LossPoint> previous_;
  std::optional<SpikeEvent> spike_, not_finite_;
  std::vector<SpikeEvent> ended_;
};

}  // namespace hg
