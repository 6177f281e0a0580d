#include "train/report/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace hg::test {
namespace {

using Verdict = Difference::Verdict;

TEST(Spread, MeanAndStandardErrorByHand) {
  // s = sqrt((4 + 0 + 4) / 2) = 2, over sqrt(3).
  const Spread spread = spread_of(std::array<double, 4>{2, 4, 6, NAN});
  EXPECT_EQ(spread.count, 3u);
  EXPECT_DOUBLE_EQ(spread.mean, 4);
  EXPECT_DOUBLE_EQ(spread.standard_error, 2 / std::sqrt(3));
}

TEST(Spread, OneValueHasNoStandardError) {
  const Spread spread = spread_of(std::array{2.0});
  EXPECT_EQ(spread.mean, 2);
  EXPECT_TRUE(std::isnan(spread.standard_error));
  EXPECT_TRUE(std::isnan(spread_of({}).mean));
}

// Variances 1 and 4, pooled 2.5; standard error sqrt(2.5 (1/3 + 1/3)); 4 degrees of freedom.
TEST(Compare, PooledSpreadByHand) {
  const Spread a = spread_of(std::array{1.0, 2.0, 3.0}), b = spread_of(std::array{2.0, 4.0, 6.0});
  const Difference difference = compare(a, b);
  EXPECT_DOUBLE_EQ(difference.value, -2);
  EXPECT_DOUBLE_EQ(difference.standard_error, std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(difference.limit, 2.776 * std::sqrt(5.0 / 3));
  EXPECT_EQ(difference.verdict, Verdict::not_distinguishable);
}

// Two and three seeds: variances 2 and 1, pooled (1 * 2 + 2 * 1) / 3 = 4/3; 3 degrees of freedom.
TEST(Compare, UnequalNumbersOfSeeds) {
  const Spread a = spread_of(std::array{10.0, 12.0}), b = spread_of(std::array{1.0, 2.0, 3.0});
  const Difference difference = compare(a, b);
  EXPECT_DOUBLE_EQ(difference.standard_error, std::sqrt(4.0 / 3 * (0.5 + 1.0 / 3)));
  EXPECT_DOUBLE_EQ(difference.limit, 3.182 * difference.standard_error);
  EXPECT_EQ(difference.verdict, Verdict::distinguishable);
}

TEST(Compare, NothingCanBeToldFromSingleSeeds) {
  const Spread one = spread_of(std::array{1.0}), two = spread_of(std::array{2.0, 2.1});
  EXPECT_EQ(compare(one, two).verdict, Verdict::unknown);
  EXPECT_EQ(compare(two, one).verdict, Verdict::unknown);
  EXPECT_EQ(compare(one, one).value, 0);
}

TEST(Compare, EqualValuesAreNotDistinguishable) {
  const Spread same = spread_of(std::array{2.0, 2.0});
  EXPECT_EQ(compare(same, same).verdict, Verdict::not_distinguishable);
}

TEST(StudentT, TakesTheNextLowerDegree) {
  EXPECT_EQ(student_t975(2), 4.303);
  EXPECT_EQ(student_t975(11), 2.228);
  EXPECT_EQ(student_t975(1e6), 1.980);
}

}  // namespace
}  // namespace hg::test
