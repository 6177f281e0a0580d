#include "core/median.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hg {
namespace {

TEST(Median, OfAnOddNumberIsTheOneInTheMiddle) {
  EXPECT_EQ(median({7}), 7);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({5, 5, 1, 8, 2}), 5);
}

TEST(Median, OfAnEvenNumberIsTheMeanOfTheTwoInTheMiddle) {
  EXPECT_EQ(median({3, 1}), 2);
  EXPECT_EQ(median({10, 1, 4, 2}), 3);
  EXPECT_EQ(median({-1, -1, -3, -1}), -1);
}

TEST(Median, OfNothingIsNotKnown) { EXPECT_TRUE(std::isnan(median({}))); }

}  // namespace
}  // namespace hg
