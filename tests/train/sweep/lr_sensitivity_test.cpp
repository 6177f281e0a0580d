// Learning-rate sensitivity against examples worked by hand.
#include "train/sweep/lr_sensitivity.h"

#include <gmock/gmock.h>

#include <cmath>

namespace hg {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

LrPoint finished(double lr, double loss, std::int64_t seed = 1, double initial = 5) {
  return {
      .lr = lr, .seed = seed, .ended = true, .diverged = false, .loss = loss, .initial = initial};
}
LrPoint diverged(double lr, std::int64_t seed = 1, double initial = 5) {
  return {.lr = lr,
          .seed = seed,
          .ended = true,
          .diverged = true,
          .loss = LrSummary::kNone,
          .initial = initial};
}

TEST(LrSensitivity, IsTheMeanAboveTheBest) {
  const auto s =
      summarize_lrs(std::vector{finished(0.1, 4), finished(0.001, 3), finished(0.01, 2)});
  EXPECT_THAT(s.grid, ElementsAre(0.001, 0.01, 0.1));
  EXPECT_DOUBLE_EQ(s.sensitivity, 1);  // (3 + 2 + 4) / 3 - 2
  EXPECT_EQ(s.best_lr, 0.01);
  EXPECT_EQ(s.best_loss, 2);
  EXPECT_EQ(s.largest_stable_lr, 0.1);
}

TEST(LrSensitivity, WhatDivergedHasTheInitialLoss) {
  const auto s = summarize_lrs(std::vector{finished(0.001, 3), finished(0.01, 2), diverged(0.1)});
  EXPECT_DOUBLE_EQ(s.sensitivity, 10.0 / 3 - 2);  // (3 + 2 + 5) / 3 - 2
  EXPECT_EQ(s.largest_stable_lr, 0.01);
}

TEST(LrSensitivity, ALossAboveTheInitialOneIsCut) {
  const auto s =
      summarize_lrs(std::vector{finished(0.001, 3), finished(0.01, 2), finished(0.1, 9)});
  EXPECT_DOUBLE_EQ(s.sensitivity, 10.0 / 3 - 2);
}

TEST(LrSensitivity, EachSeedIsCutBeforeTheMeanOverSeeds) {
  const auto s = summarize_lrs(std::vector{finished(0.01, 2, 1), finished(0.01, 2.5, 2, 5.5),
                                           finished(0.1, 3, 1), diverged(0.1, 2, 5.5)});
  EXPECT_THAT(s.seeds, ElementsAre(1, 2));
  EXPECT_DOUBLE_EQ(s.best_loss, 2.25);
  EXPECT_DOUBLE_EQ(s.sensitivity, (2.25 + 4.25) / 2 - 2.25);  // 0.1: (3 + 5.5) / 2
  EXPECT_EQ(s.largest_stable_lr, 0.01);
}

// Both rates have a mean over seeds of 3, which hides what either seed shows: (2 + 4) / 2 - 2.
TEST(LrSensitivity, OfEachSeedAlone) {
  std::vector points = {finished(0.01, 2, 1), finished(0.1, 4, 1), finished(0.01, 4, 2),
                        finished(0.1, 2, 2)};
  auto s = summarize_lrs(points);
  EXPECT_EQ(s.sensitivity, 0);
  EXPECT_THAT(s.of_seeds, ElementsAre(1, 1));
  points.push_back(finished(1, 4.5, 1));  // which seed 2 was not given
  s = summarize_lrs(points);
  EXPECT_THAT(s.grid, ElementsAre(0.01, 0.1, 1));
  EXPECT_THAT(s.of_seeds, ElementsAre(1, 1));
}

TEST(LrSensitivity, StableMeansEverythingBelowIsToo) {
  const auto s = summarize_lrs(std::vector{finished(0.001, 3), diverged(0.01), finished(0.1, 2)});
  EXPECT_EQ(s.largest_stable_lr, 0.001);
  EXPECT_EQ(s.best_lr, 0.1);
}

TEST(LrSensitivity, WhatHasNotEndedIsNotInTheGrid) {
  LrPoint open = finished(0.1, 1, 2);
  open.ended = false;
  const auto s = summarize_lrs(
      std::vector{finished(0.01, 2, 1), finished(0.01, 2, 2), finished(0.1, 1, 1), open});
  EXPECT_THAT(s.grid, ElementsAre(0.01));
  EXPECT_EQ(s.sensitivity, 0);
  EXPECT_THAT(s.of_seeds, ElementsAre(0, 0));
  const auto none = summarize_lrs(std::vector{open});
  EXPECT_THAT(none.grid, IsEmpty());
  EXPECT_TRUE(std::isnan(none.sensitivity) && std::isnan(none.best_lr));
}

}  // namespace
}  // namespace hg
