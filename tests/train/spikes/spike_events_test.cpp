#include "train/spikes/spike_events.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/random.h"

namespace hg::test {
namespace {

using Kind = SpikeEvent::Kind;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A curve as of a real run: ln V, then a power law with noise of half a percent; steps from 1.
std::vector<LossPoint> clean_curve(std::int64_t steps, std::uint64_t seed = 1) {
  const RandomStream random(seed, "loss");
  std::vector<LossPoint> points;
  for (std::int64_t step = 1; step <= steps; ++step) {
    const double level = 2 + 8 * std::pow(1 + static_cast<double>(step) / 50, -0.8);
    const double noise = 0.005 * double{random.normal(static_cast<std::uint64_t>(step))};
    points.push_back({.step = step, .loss = level * (1 + noise), .tokens = 1000 * step});
  }
  return points;
}

SpikeDetector detect(const std::vector<LossPoint>& points) {
  SpikeDetector detector;
  for (const LossPoint& point : points) detector.add(point);
  return detector;
}

double& loss_at(std::vector<LossPoint>& points, std::int64_t step) {
  return points[static_cast<std::size_t>(step - 1)].loss;
}

TEST(SpikeDetector, ACleanCurveHasNoEvents) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const SpikeDetector detector = detect(clean_curve(5000, seed));
    EXPECT_TRUE(detector.ended().empty()) << "step " << detector.ended()[0].start;
    EXPECT_TRUE(detector.open().empty());
  }
}

TEST(SpikeDetector, FindsExactlyThePlantedSpikes) {
  auto points = clean_curve(5000);
  loss_at(points, 700) += 1;
  // Ten steps up and down again, with its peak in the middle.
  const double rise[] = {0.3, 0.5, 0.9, 1.5, 1.4, 1.1, 0.8, 0.6, 0.4, 0.3};
  for (int i = 0; i < 10; ++i) loss_at(points, 2000 + i) += rise[i];
  loss_at(points, 4500) += 0.4;
  const auto events = detect(points).ended();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].start, 700);
  EXPECT_EQ(events[0].end, 701);
  EXPECT_EQ(events[1].start, 2000);
  EXPECT_EQ(events[1].peak, 2003);
  EXPECT_EQ(events[1].end, 2010);
  EXPECT_EQ(events[2].steps(), 1);
  EXPECT_NEAR(events[0].height, 1, 0.1);
  EXPECT_NEAR(events[1].height, 1.5, 0.1);
  EXPECT_NEAR(events[2].height, 0.4, 0.1);
  for (const auto& event : events) {
    EXPECT_EQ(event.kind, Kind::spike);
    EXPECT_FALSE(event.open);
    EXPECT_EQ(event.loss, loss_at(points, event.peak));
    EXPECT_GT(event.z, SpikeDetector::kBegin);
    EXPECT_EQ(event.tokens_before, 1000 * (event.peak - 1));
    EXPECT_EQ(event.tokens_after, 1000 * event.peak);
  }
}

TEST(SpikeDetector, ScoresFollowTheFormula) {
  // The window holds -1 and 1 percent (in log) in turn: median 0, MAD 0.01.
  std::vector<LossPoint> points;
  for (std::int64_t step = 1; step <= 100; ++step) {
    points.push_back({.step = step, .loss = std::exp(step % 2 == 0 ? 0.01 : -0.01)});
  }
  const double begin = 8 * 0.01 / 0.6745, end = 2 * 0.01 / 0.6745;
  const auto events_with = [&](std::vector<double> logs) {
    auto all = points;
    for (const double x : logs) all.push_back({.step = all.back().step + 1, .loss = std::exp(x)});
    return detect(all);
  };
  EXPECT_TRUE(events_with({0.999 * begin}).open().empty());
  const auto detector = events_with({1.001 * begin, 1.01 * end, 0.99 * end});
  ASSERT_EQ(detector.ended().size(), 1U);
  EXPECT_EQ(detector.ended()[0].end, 103);
  EXPECT_NEAR(detector.ended()[0].z, 8.008, 1e-9);
  EXPECT_NEAR(detector.ended()[0].height, std::exp(1.001 * begin) - 1, 1e-12);
}

TEST(SpikeDetector, WhatIsInASpikeDoesNotMoveTheWindow) {
  // Two spikes of 60 steps close to each other: had the first entered the window, it would be most
  // of it, and the second no spike.
  auto points = clean_curve(3000);
  for (std::int64_t i = 0; i < 60; ++i) {
    loss_at(points, 2000 + i) += 1;
    loss_at(points, 2065 + i) += 1;
  }
  const auto events = detect(points).ended();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].steps(), 60);
  EXPECT_EQ(events[1].start, 2065);
  EXPECT_EQ(events[1].steps(), 60);
}

TEST(SpikeDetector, AConstantSeriesNeedsAVisibleRise) {
  std::vector<LossPoint> points;
  for (std::int64_t step = 1; step <= 300; ++step) points.push_back({.step = step, .loss = 2.0});
  EXPECT_TRUE(detect(points).ended().empty());
  loss_at(points, 200) = 2.0 * (1 + 7e-4);
  EXPECT_TRUE(detect(points).ended().empty());
  loss_at(points, 200) = 2.0 * (1 + 9e-4);
  ASSERT_EQ(detect(points).ended().size(), 1U);
  EXPECT_EQ(detect(points).ended()[0].steps(), 1);
}

TEST(SpikeDetector, ALevelThatStaysIsAShiftAndThenTheNewNormal) {
  auto points = clean_curve(4000);
  for (std::int64_t step = 2000; step <= 4000; ++step) loss_at(points, step) += 0.5;
  loss_at(points, 3500) += 0.4;
  const auto events = detect(points).ended();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kind, Kind::shift);
  EXPECT_EQ(events[0].start, 2000);
  EXPECT_EQ(events[0].steps(), SpikeDetector::kShift - 1);
  EXPECT_EQ(events[1].kind, Kind::spike);
  EXPECT_EQ(events[1].start, 3500);
  EXPECT_NEAR(events[1].height, 0.4, 0.1);
}

TEST(SpikeDetector, ASuddenFallIsNoSpike) {
  auto points = clean_curve(3000);
  for (std::int64_t step = 2000; step <= 3000; ++step) loss_at(points, step) -= 0.5;
  EXPECT_TRUE(detect(points).ended().empty());
}

TEST(SpikeDetector, TheBurnInIsNotJudged) {
  const auto whole = clean_curve(2000);
  std::vector<LossPoint> points(whole.begin() + 1000, whole.begin() + 1150);
  points[99].loss += 5;
  EXPECT_TRUE(detect(points).ended().empty());
  points[100].loss += 5;
  ASSERT_EQ(detect(points).ended().size(), 1U);
  EXPECT_EQ(detect(points).ended()[0].start, 1101);
}

TEST(SpikeDetector, AnEventAtTheEndIsOpen) {
  auto points = clean_curve(1000);
  for (std::int64_t step = 996; step <= 1000; ++step) loss_at(points, step) += 1;
  const SpikeDetector detector = detect(points);
  EXPECT_TRUE(detector.ended().empty());
  ASSERT_EQ(detector.open().size(), 1U);
  EXPECT_TRUE(detector.open()[0].open);
  EXPECT_EQ(detector.open()[0].start, 996);
  EXPECT_EQ(detector.open()[0].end, 1000);
}

TEST(SpikeDetector, WhatIsNotFiniteIsAnEventOfItsOwn) {
  auto points = clean_curve(2000);
  loss_at(points, 50) = kNaN;  // in the burn-in, too
  for (const std::int64_t step : {1000, 1001, 1002}) loss_at(points, step) = kInfinity;
  loss_at(points, 1003) += 1;
  loss_at(points, 2000) = kNaN;
  const SpikeDetector detector = detect(points);
  const auto& events = detector.ended();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0].kind, Kind::not_finite);
  EXPECT_EQ(events[0].start, 50);
  EXPECT_EQ(events[0].end, 51);
  EXPECT_EQ(events[1].kind, Kind::not_finite);
  EXPECT_EQ(events[1].steps(), 3);
  EXPECT_EQ(events[2].kind, Kind::spike);
  EXPECT_EQ(events[2].start, 1003);
  ASSERT_EQ(detector.open().size(), 1U);
  EXPECT_EQ(detector.open()[0].kind, Kind::not_finite);
}

TEST(SpikeDetector, ALossOfZeroIsPassedOver) {
  auto points = clean_curve(500);
  loss_at(points, 300) = 0;
  loss_at(points, 400) = -1;
  EXPECT_TRUE(detect(points).ended().empty());
}

TEST(SpikeDetector, TokensOfAPeakBehindAGapAreUnknown) {
  auto points = clean_curve(1000);
  loss_at(points, 800) += 1;
  points.erase(points.begin() + 798);  // step 799
  const auto events = detect(points).ended();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].tokens_after, 0);
}

TEST(SpikeDetector, RefusesAStepThatIsNotLater) {
  SpikeDetector detector;
  detector.add({.step = 5, .loss = 1});
  EXPECT_THROW(detector.add({.step = 5, .loss = 1}), Error);
}

}  // namespace
}  // namespace hg::test
