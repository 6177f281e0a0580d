// Statistics of the last values of a series. None keeps a running sum from which old values are
// subtracted, unless it is of integers: such a sum drifts, and one huge value would spoil it for
// good.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace hg {

/// Count, mean and sum of squared deviations from the mean.
struct Moments {
  double count = 0, mean = 0, squares = 0;

  /// Standard deviation of these values themselves (divided by count, not count - 1).
  double deviation() const;
};

/// Moments of two sets of values together (Chan, Golub and LeVeque, 1983): only adds, never
/// cancels.
Moments merge(const Moments& a, const Moments& b);

/// Moments of the last `window` values, at constant cost per value: the values lie in blocks of
/// `window`, and the last `window` of them are the end of one block, whose moments were merged when
/// it was full, and the beginning of the next.
class MovingMoments {
 public:
  explicit MovingMoments(std::int64_t window);

  void add(double value);
  bool full() const { return !ends_.empty(); }
  /// Of the last `window` values, once there are so many.
  Moments moments() const { return merge(ends_[block_.size()], beginning_); }

 private:
  std::vector<double> block_;
  Moments beginning_;          // of block_
  std::vector<Moments> ends_;  // of the block before: from each of its values on; then of none
  std::size_t window_;
};

/// How many of the last `window` answers were yes.
class MovingShare {
 public:
  explicit MovingShare(std::int64_t window);

  void add(bool yes);
  /// Of the answers there are, at least one.
  double share() const { return static_cast<double>(yes_) / static_cast<double>(last_.size()); }

 private:
  std::deque<bool> last_;
  std::int64_t yes_ = 0;  // in last_
  std::size_t window_;
};

/// The last `window` values, also in order of size.
class MovingMedian {
 public:
  explicit MovingMedian(std::int64_t window);

  void add(double value);
  void clear();
  bool full() const { return values_.size() == window_; }
  /// Of the values there are, at least one; the mean of the middle two if their number is even.
  double median() const;
  /// Median absolute deviation from the median.
  double mad() const;
  /// The robust z-score of x (Iglewicz and Hoaglin, 1993): 0.6745 (x - median) / MAD, in which
  /// MAD / 0.6745, the standard deviation of normal values, counts as `least_deviation` at least.
  double z(double x, double least_deviation) const;
  /// Value `index`, the oldest first.
  double operator[](std::size_t index) const { return values_[index]; }

 private:
  std::deque<double> values_;
  std::vector<double> sorted_;
  std::size_t window_;
};

}  // namespace hg
