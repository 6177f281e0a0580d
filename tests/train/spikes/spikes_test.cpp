#include "train/spikes/spikes.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/random.h"

namespace hg::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<LossPoint> noisy_points(std::int64_t steps) {
  const RandomStream loss(1, "loss"), norm(1, "norm");
  std::vector<LossPoint> points;
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto i = static_cast<std::uint64_t>(step);
    points.push_back({.step = step,
                      .loss = 2.5 + 0.01 * double{loss.normal(i)},
                      .grad_norm = 0.3 + 0.02 * double{norm.normal(i)}});
  }
  return points;
}

TEST(SpikeMonitor, LossAndGradientNormHaveTheirOwnScores) {
  auto points = noisy_points(3000);
  points[2000].loss += 1;
  points[2500].grad_norm += 5;
  points[2600].grad_norm += 50;
  const SpikeScores scores = monitor_spikes(points).scores();
  EXPECT_EQ(scores.olmo2.values, 2000);
  EXPECT_EQ(scores.olmo2.outliers, 1);
  EXPECT_EQ(scores.olmo2_grad_norm.outliers, 2);
  EXPECT_EQ(scores.core.values, 3000 - 128);
  EXPECT_EQ(scores.core.outliers, 1);
  // 5 above raised the deviation of the 128 behind it to 0.44: 50 is still far above six of those.
  EXPECT_EQ(scores.core_grad_norm.outliers, 2);
  EXPECT_EQ(scores.median201.values, 2800);
  EXPECT_EQ(scores.median201.outliers, 1);
}

TEST(SpikeMonitor, WhatIsNotFiniteEntersNoScore) {
  auto points = noisy_points(1500);
  const SpikeScores before = monitor_spikes(points).scores();
  points.insert(points.begin() + 700, {.step = 0, .loss = kNaN, .grad_norm = kNaN});
  for (std::size_t i = 0; i < points.size(); ++i) points[i].step = static_cast<std::int64_t>(i);
  const SpikeMonitor monitor = monitor_spikes(points);
  EXPECT_EQ(monitor.scores().olmo2.values, before.olmo2.values);
  EXPECT_EQ(monitor.scores().core_grad_norm.values, before.core_grad_norm.values);
  EXPECT_EQ(monitor.scores().median201.values, before.median201.values);
  EXPECT_EQ(monitor.events().ended().size(), 1U);
}

TEST(SpikeMonitor, AnUnknownGradientNormIsNotJudged) {
  auto points = noisy_points(1500);
  for (auto& point : points) point.grad_norm = kNaN;
  const SpikeScores scores = monitor_spikes(points).scores();
  EXPECT_TRUE(std::isnan(scores.olmo2_grad_norm.per(100)));
  EXPECT_EQ(scores.olmo2.values, 500);
}

TEST(SpikeMonitor, StepByStepIsTheSameAsTheWholeSeries) {
  auto points = noisy_points(1200);
  for (std::size_t i = 400; i < 410; ++i) points[i].loss += 1;
  // A run that stops in the middle of the spike, and resumes from what is on disk.
  SpikeMonitor resumed = monitor_spikes(std::span(points).first(405));
  EXPECT_EQ(resumed.events().open().size(), 1U);
  for (const auto& point : std::span(points).subspan(405)) resumed.add(point);
  const SpikeMonitor whole = monitor_spikes(points);
  ASSERT_EQ(resumed.events().ended().size(), 1U);
  EXPECT_EQ(resumed.events().ended()[0].start, whole.events().ended()[0].start);
  EXPECT_EQ(resumed.events().ended()[0].height, whole.events().ended()[0].height);
  EXPECT_EQ(resumed.scores().median201.outliers, whole.scores().median201.outliers);
  EXPECT_EQ(resumed.scores().median201.outliers, 10);
}

}  // namespace
}  // namespace hg::test
