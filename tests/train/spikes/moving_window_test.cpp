#include "train/spikes/moving_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/random.h"

namespace hg::test {
namespace {

/// Normal noise on a falling level, with values of very different size thrown in.
std::vector<double> random_series(std::size_t size, std::uint64_t seed) {
  const RandomStream random(seed, "series");
  std::vector<double> values(size);
  for (std::size_t i = 0; i < size; ++i) {
    values[i] = 2 + 8 / (1 + static_cast<double>(i)) + 0.01 * double{random.normal(i)};
    if (random.uniform(size + i) < 0.01F) values[i] *= 1e12;
  }
  return values;
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

TEST(MovingMoments, AgreeWithRecomputationOfEveryWindow) {
  for (const std::size_t window : {1U, 2U, 7U, 128U}) {
    const auto values = random_series(1000, window);
    MovingMoments moving(static_cast<std::int64_t>(window));
    for (std::size_t i = 0; i < values.size(); ++i) {
      moving.add(values[i]);
      ASSERT_EQ(moving.full(), i + 1 >= window) << i;
      if (!moving.full()) continue;
      long double mean = 0, squares = 0;
      for (std::size_t j = i + 1 - window; j <= i; ++j) mean += values[j];
      mean /= static_cast<long double>(window);
      for (std::size_t j = i + 1 - window; j <= i; ++j) {
        squares += (values[j] - mean) * (values[j] - mean);
      }
      const auto deviation =
          static_cast<double>(std::sqrt(squares / static_cast<long double>(window)));
      const Moments moments = moving.moments();
      EXPECT_EQ(moments.count, static_cast<double>(window));
      EXPECT_NEAR(moments.mean, static_cast<double>(mean), 1e-14 * std::abs(moments.mean)) << i;
      EXPECT_NEAR(moments.deviation(), deviation, 1e-12 * deviation) << i;
    }
  }
}

TEST(MovingMoments, AHugeValueLeavesNothingBehind) {
  MovingMoments moving(4);
  moving.add(1e30);
  for (int i = 0; i < 4; ++i) moving.add(0.1);
  EXPECT_EQ(moving.moments().mean, 0.1);
  EXPECT_EQ(moving.moments().deviation(), 0);
}

TEST(MovingShare, IsOfTheLastAnswers) {
  MovingShare share(4);
  std::vector<double> shares;
  for (const bool yes : {true, false, false, true, true, true, true, false}) {
    share.add(yes);
    shares.push_back(share.share());
  }
  EXPECT_EQ(shares, (std::vector{1.0, 0.5, 1.0 / 3, 0.5, 0.5, 0.75, 1.0, 0.75}));
}

TEST(MovingMedian, AgreesWithRecomputationOfEveryWindow) {
  for (const std::size_t window : {1U, 2U, 100U, 201U}) {
    const auto values = random_series(600, window);
    MovingMedian moving(static_cast<std::int64_t>(window));
    for (std::size_t i = 0; i < values.size(); ++i) {
      moving.add(values[i]);
      const std::size_t begin = i + 1 - std::min(i + 1, window);
      std::vector<double> last(values.begin() + static_cast<std::ptrdiff_t>(begin),
                               values.begin() + static_cast<std::ptrdiff_t>(i + 1));
      const double median = median_of(last);
      EXPECT_EQ(moving.full(), last.size() == window);
      EXPECT_EQ(moving.median(), median);
      EXPECT_EQ(moving[0], values[begin]);
      for (double& value : last) value = std::abs(value - median);
      EXPECT_EQ(moving.mad(), median_of(last));
    }
  }
}

TEST(MovingMedian, EqualValuesLeaveOneAtATime) {
  MovingMedian moving(3);
  for (const double value : {5., 5., 5., 1., 1.}) moving.add(value);
  EXPECT_EQ(moving.median(), 1);
  EXPECT_EQ(moving[0], 5);
}

TEST(MovingWindows, HaveAtLeastOneValue) {
  EXPECT_THROW(MovingMoments(0), Error);
  EXPECT_THROW(MovingMedian(-1), Error);
}

}  // namespace
}  // namespace hg::test
