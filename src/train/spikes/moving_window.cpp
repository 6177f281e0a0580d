#include "train/spikes/moving_window.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/check.h"

namespace hg {
namespace {

std::size_t check_window(std::int64_t window) {
  HG_CHECK(window > 0, "a window of {} values, expected at least 1", window);
  return static_cast<std::size_t>(window);
}

double median_of_sorted(const std::vector<double>& sorted) {
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace

double Moments::deviation() const { return std::sqrt(squares / count); }

Moments merge(const Moments& a, const Moments& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double count = a.count + b.count, difference = b.mean - a.mean;
  return {.count = count,
          .mean = a.mean + difference * (b.count / count),
          .squares = a.squares + b.squares + difference * difference * (a.count * b.count / count)};
}

MovingMoments::MovingMoments(std::int64_t window) : window_(check_window(window)) {}

void MovingMoments::add(double value) {
  block_.push_back(value);
  beginning_ = merge(beginning_, {.count = 1, .mean = value});
  if (block_.size() < window_) return;
  ends_.assign(window_ + 1, {});
  for (std::size_t i = window_; i-- > 0;) {
    ends_[i] = merge({.count = 1, .mean = block_[i]}, ends_[i + 1]);
  }
  block_.clear();
  beginning_ = {};
}

MovingShare::MovingShare(std::int64_t window) : window_(check_window(window)) {}

void MovingShare::add(bool yes) {
  last_.push_back(yes);
  yes_ += yes ? 1 : 0;
  if (last_.size() <= window_) return;
  yes_ -= last_.front() ? 1 : 0;
  last_.pop_front();
}

MovingMedian::MovingMedian(std::int64_t window) : window_(check_window(window)) {}

void MovingMedian::add(double value) {
  if (full()) {
    sorted_.erase(std::ranges::lower_bound(sorted_, values_.front()));
    values_.pop_front();
  }
  values_.push_back(value);
  sorted_.insert(std::ranges::upper_bound(sorted_, value), value);
}

void MovingMedian::clear() {
  values_.clear();
  sorted_.clear();
}

double MovingMedian::median() const { return median_of_sorted(sorted_); }

double MovingMedian::mad() const {
  const double center = median();
  // To either side of the median deviations grow: merging both sides sorts them, and half is
  // enough.
  auto above = std::ranges::lower_bound(sorted_, center);
  auto below = above;
  double last = 0, before = 0;
  for (std::size_t taken = 0; taken <= sorted_.size() / 2; ++taken) {
    const bool take_below = above == sorted_.end() ||
                            (below != sorted_.begin() && center - below[-1] < *above - center);
    before = std::exchange(last, take_below ? center - *--below : *above++ - center);
  }
  return sorted_.size() % 2 == 1 ? last : (before + last) / 2;
}

double MovingMedian::z(double x, double least_deviation) const {
  constexpr double kNormal = 0.6745;  // MAD of a normal distribution, in standard deviations
  return (x - median()) / std::max(mad() / kNormal, least_deviation);
}

}  // namespace hg
