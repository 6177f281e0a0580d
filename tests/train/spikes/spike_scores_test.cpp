#include "train/spikes/spike_scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/random.h"

namespace hg::test {
namespace {

std::vector<double> noise(std::size_t size, double deviation) {
  const RandomStream random(7, "noise");
  std::vector<double> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = 2.5 + deviation * double{random.normal(i)};
  return values;
}

Share share_of(const DeviationRule& rule, const std::vector<double>& values) {
  DeviationScore score(rule);
  for (const double value : values) score.add(value);
  return score.share();
}

Share median_share_of(const std::vector<double>& values) {
  MedianScore score;
  for (const double value : values) score.add(value);
  return score.share();
}

/// The definition, word for word, in double.
Share naive_share(const DeviationRule& rule, const std::vector<double>& values) {
  Share share;
  const auto window = static_cast<std::size_t>(rule.window);
  for (std::size_t i = window; i < values.size(); ++i) {
    double mean = 0, variance = 0;
    for (std::size_t j = i - window; j < i; ++j) mean += values[j] / double(window);
    for (std::size_t j = i - window; j < i; ++j) {
      variance += (values[j] - mean) * (values[j] - mean) / double(window);
    }
    const double limit = rule.deviations * std::sqrt(variance);
    const double off = values[i] - mean;
    ++share.values;
    share.outliers += (rule.two_sided ? std::abs(off) >= limit : off > limit) ? 1 : 0;
  }
  return share;
}

TEST(DeviationScore, CountsAsTheDefinitionDoes) {
  auto values = noise(5000, 0.02);
  const RandomStream random(8, "spikes");
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float u = random.uniform(i);
    if (u < 0.003F) values[i] += 0.3;
    if (u > 0.998F) values[i] -= 0.3;
  }
  for (const DeviationRule& rule : {kOlmo2, kOlmoCore}) {
    const Share share = share_of(rule, values), naive = naive_share(rule, values);
    EXPECT_EQ(share.values, 5000 - rule.window);
    EXPECT_EQ(share.values, naive.values);
    EXPECT_EQ(share.outliers, naive.outliers);
    EXPECT_GT(share.outliers, 3);
  }
}

TEST(DeviationScore, Olmo2CountsBothSidesFromSevenOnAndCoreOnlyWhatIsAbove) {
  // Values at 1 and 3 in turn: mean 2, deviation 1, whatever the (even) window.
  std::vector<double> values;
  for (int i = 0; i < 1000; ++i) values.push_back(i % 2 == 0 ? 1 : 3);
  const auto with = [&](double last) {
    auto all = values;
    all.push_back(last);
    return all;
  };
  EXPECT_EQ(share_of(kOlmo2, with(9.001)).outliers, 1);
  EXPECT_EQ(share_of(kOlmo2, with(8.999)).outliers, 0);
  EXPECT_EQ(share_of(kOlmo2, with(-5.001)).outliers, 1);
  EXPECT_EQ(share_of(kOlmoCore, with(8.001)).outliers, 1);
  EXPECT_EQ(share_of(kOlmoCore, with(7.999)).outliers, 0);
  EXPECT_EQ(share_of(kOlmoCore, with(-9)).outliers, 0);
}

TEST(DeviationScore, JudgesNothingBeforeItsWindowIsFull) {
  auto values = noise(1000, 0.01);
  values[500] = 100;
  EXPECT_EQ(share_of(kOlmo2, values).values, 0);
  EXPECT_TRUE(std::isnan(share_of(kOlmo2, values).per(100)));
  values.push_back(2.5);
  EXPECT_EQ(share_of(kOlmo2, values).values, 1);
  EXPECT_EQ(share_of(kOlmo2, values).per(100), 0);
}

TEST(DeviationScore, AConstantSeriesHasNoOutliers) {
  for (const DeviationRule& rule : {kOlmo2, kOlmoCore}) {
    const Share share = share_of(rule, std::vector<double>(3000, 0.1));
    EXPECT_EQ(share.outliers, 0);
    EXPECT_EQ(share.values, 3000 - rule.window);
  }
}

TEST(MedianScore, CountsLossesAboveTheMedianAroundThem) {
  auto values = noise(1201, 0.01);
  for (const std::size_t spike : {100U, 600U, 1100U}) values[spike] += 0.2;
  values[300] -= 5;                    // below is no spike
  values[99] += 5, values[1101] += 5;  // without 100 values on both sides: not judged
  EXPECT_EQ(median_share_of(values).outliers, 3);
  EXPECT_EQ(median_share_of(values).values, 1001);
  EXPECT_DOUBLE_EQ(median_share_of(values).per(1e4), 3e4 / 1001);
}

TEST(MedianScore, NeedsMoreThanATenthOfANat) {
  std::vector<double> values(201, 2.0);
  values[100] = 2.0 + 0.0999;
  EXPECT_EQ(median_share_of(values).outliers, 0);
  values[100] = 2.0 + 0.1001;
  EXPECT_EQ(median_share_of(values).outliers, 1);
  values.pop_back();
  EXPECT_EQ(median_share_of(values).values, 0);
}

}  // namespace
}  // namespace hg::test
