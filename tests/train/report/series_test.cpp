#include "train/report/series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/check.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Series series_of(const std::vector<double>& values) {
  Series series;
  for (std::size_t i = 0; i < values.size(); ++i) series.add(static_cast<double>(i), values[i]);
  return series;
}

TEST(Series, TheLastValueOfAStepCounts) {
  Series series{.steps = {1, 3, 2, 3}, .values = {10, 30, 20, 31}};
  put_in_order(series);
  EXPECT_THAT(series.steps, ElementsAre(1, 2, 3));
  EXPECT_THAT(series.values, ElementsAre(10, 20, 31));
}

TEST(Series, SmoothsAsTheFigureOfThePaper) {
  // 10; 0.9 * 10 + 0.1 * 20 = 11; NaN stays and is passed over; 0.9 * 11 + 0.1 * 1 = 10.
  const Series smoothed = smooth(series_of({10, 20, kNan, 1}));
  EXPECT_DOUBLE_EQ(smoothed.values[0], 10);
  EXPECT_DOUBLE_EQ(smoothed.values[1], 11);
  EXPECT_TRUE(std::isnan(smoothed.values[2]));
  EXPECT_DOUBLE_EQ(smoothed.values[3], 10);
}

// Twelve points in two buckets, [0, 5.5) and [5.5, 11]: of the first the points 0, 2 (lowest), 4
// (highest) and 5, of the second 6 (first and highest), 8 (lowest) and 11.
TEST(Downsample, KeepsFirstLastLowestAndHighestOfEachPart) {
  const Series series = series_of({5, 4, 1, 6, 9, 5, 8, 5, 2, 5, 5, 5});
  const Series kept = downsample(series, 0, 11, 2);
  EXPECT_THAT(kept.steps, ElementsAre(0, 2, 4, 5, 6, 8, 11));
  EXPECT_THAT(kept.values, ElementsAre(5, 1, 9, 5, 8, 2, 5));
}

TEST(Downsample, LeavesAShortSeriesAsItIs) {
  const Series series = series_of({5, 4, 1, 6, 9, 5, 8, 5});
  EXPECT_EQ(downsample(series, 0, 7, 2).steps, series.steps);
}

TEST(Downsample, LeavesOutWhatIsOutside) {
  EXPECT_THAT(downsample(series_of({0, 1, 2, 3, 4}), 1, 3, 9).steps, ElementsAre(1, 2, 3));
}

TEST(Downsample, NoSpikeIsLost) {
  std::vector<double> values(100'000, 2.0);
  const std::vector<std::size_t> spikes = {17, 5'003, 5'004, 50'000, 99'998};
  for (const std::size_t at : spikes) values[at] = 3 + 1e-6 * static_cast<double>(at);
  const Series kept = downsample(series_of(values), 0, 99'999, 400);
  EXPECT_LE(kept.size(), 2000u);
  for (const std::size_t at : {17, 5'004, 50'000, 99'998})  // 5,003 is in 5,004's part, and lower
    EXPECT_NE(std::ranges::find(kept.values, values[static_cast<std::size_t>(at)]),
              kept.values.end())
        << at;
}

TEST(Downsample, ANanStillInterruptsTheLine) {
  std::vector<double> values(1000, 2.0);
  values[500] = kNan;
  const Series kept = downsample(series_of(values), 0, 999, 10);
  const auto broken = std::ranges::find_if(kept.values, [](double v) { return std::isnan(v); });
  ASSERT_NE(broken, kept.values.end());
  EXPECT_EQ(kept.steps[static_cast<std::size_t>(broken - kept.values.begin())], 500);
}

TEST(Downsample, ASeriesOfNothingButNan) {
  const Series kept = downsample(series_of(std::vector<double>(100, kNan)), 0, 99, 2);
  EXPECT_THAT(kept.steps, ElementsAre(0, 49, 50, 99));
}

TEST(BinnedMedians, MediansAtTheMiddleOfParts) {
  // [0, 2): 1, 5 -> 3. [2, 4): 2, NaN -> 2. [4, 6]: 7, 3, 4 -> 4.
  const Series medians = binned_medians(series_of({1, 5, 2, kNan, 7, 3, 4}), 0, 6, 3);
  EXPECT_THAT(medians.steps, ElementsAre(1, 3, 5));
  EXPECT_THAT(medians.values, ElementsAre(3, 2, 4));
  EXPECT_TRUE(std::isnan(binned_medians({}, 0, 6, 3).values[1]));
}

TEST(Series, DifferencesAndMeansNeedTheSameSteps) {
  const Series a = series_of({4, 6}), b = series_of({1, 2});
  EXPECT_THAT(difference(a, b).values, ElementsAre(3, 4));
  EXPECT_THAT(mean_of({a, b}).values, ElementsAre(2.5, 4));
  EXPECT_THROW(difference(a, series_of({1})), Error);
}

TEST(Series, NumbersOfIt) {
  const Series series = series_of({9, 1, kNan, 4, kNan});
  EXPECT_EQ(last_of(series), 4);
  EXPECT_EQ(least_of(series), 1);
  EXPECT_EQ(most_of(series), 9);
  EXPECT_EQ(median_of(series), 4);
  EXPECT_EQ(mean_of_last(series, 4), 2.5);
  EXPECT_TRUE(std::isnan(mean_of_last(series, 1)));
  EXPECT_TRUE(std::isnan(last_of({})));
}

}  // namespace
}  // namespace hg::test
