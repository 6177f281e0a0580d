// When a run counts as diverged.
#include "train/sweep/divergence.h"

#include <gmock/gmock.h>

#include <limits>

namespace hg {
namespace {

constexpr double kLnV = 8, kNan = std::numeric_limits<double>::quiet_NaN();

/// A rule with a window of three, for thirty steps, ten of them warm-up.
DivergenceRule rule(double above_initial = 0) {
  return {{.window = 3, .above_initial = above_initial}, 30, 10, kLnV};
}

std::int64_t step_of(const DivergenceRule& rule) {
  return rule.diverged() ? rule.diverged()->step : 0;
}

TEST(Divergence, TheMedianOfAWindowBehindWarmUpIsCompared) {
  DivergenceRule one = rule();
  for (int step = 1; step <= 10; ++step) one.add_train(step, 100, 1);
  one.add_train(11, 9, 1);
  one.add_train(12, 7, 1);
  one.add_train(13, 7, 1);  // the median of 9, 7, 7
  EXPECT_EQ(step_of(one), 0);
  one.add_train(14, 9, 1);
  one.add_train(15, 9, 1);  // of 7, 9, 9
  EXPECT_EQ(step_of(one), 15);
  EXPECT_THAT(one.diverged()->reason, testing::HasSubstr("9.0000, above 8.0000"));
  one.add_train(16, kNan, 1);
  EXPECT_EQ(step_of(one), 15) << "the first step counts";
}

TEST(Divergence, TheLimitIsTheMeasuredInitialLoss) {
  DivergenceRule one = rule(0.5);
  one.add_validation(0, 9);
  DivergenceRule other = one;
  one.add_validation(30, 9.5);
  EXPECT_EQ(step_of(one), 0);
  other.add_validation(30, 9.6);
  EXPECT_EQ(step_of(other), 30);
}

TEST(Divergence, ALossThatComesDownAgainDoesNotCount) {
  DivergenceRule one = rule();
  one.add_validation(15, 50);
  EXPECT_EQ(step_of(one), 0);
  one.add_validation(30, 7);
  EXPECT_EQ(step_of(one), 0);
}

TEST(Divergence, TheWindowIsAQuarterOfTheStepsBehindWarmUp) {
  DivergenceRule one({}, 130, 10, kLnV);
  for (int step = 11; step <= 39; ++step) one.add_train(step, 9, 1);
  EXPECT_EQ(step_of(one), 0);
  one.add_train(40, 9, 1);
  EXPECT_EQ(step_of(one), 40);
}

TEST(Divergence, ValidationDuringWarmUpDoesNotCount) {
  DivergenceRule one = rule();
  one.add_validation(10, 50);
  EXPECT_EQ(step_of(one), 0);
  one.add_validation(11, kNan);
  EXPECT_EQ(step_of(one), 11);
}

TEST(Divergence, WhatIsNotFiniteHasDiverged) {
  DivergenceRule loss = rule(), norm = rule();
  loss.add_train(1, kNan, 1);
  norm.add_train(2, 1, std::numeric_limits<double>::infinity());
  EXPECT_EQ(step_of(loss), 1);
  EXPECT_EQ(step_of(norm), 2);
}

}  // namespace
}  // namespace hg
