#include "train/looks/gate_rows.h"

#include <gmock/gmock.h>

#include <cmath>

namespace hg::test {
namespace {

std::vector<std::int32_t> ids(const std::vector<GatedToken>& tokens) {
  std::vector<std::int32_t> result;
  for (const GatedToken& token : tokens) result.push_back(token.id);
  return result;
}

TEST(ExtremeTokens, AreThoseWithTheHighestAndLowestMeans) {
  const std::vector<std::int32_t> tokens = {7, 5, 7, 9, 5, 9, 3, 7};
  const std::vector<float> scores = {0.2F, 0.9F, 0.4F, 0.5F, 0.7F, 0.5F, 1.0F, 0.3F};
  const ExtremeTokens extreme = extreme_tokens(tokens, scores, 2, 2);  // 3 is seen but once
  EXPECT_THAT(ids(extreme.open), testing::ElementsAre(5, 9));
  EXPECT_THAT(ids(extreme.closed), testing::ElementsAre(7, 9));
  EXPECT_NEAR(extreme.open[0].score, 0.8, 1e-7);
  EXPECT_NEAR(extreme.closed[0].score, 0.3, 1e-7);
  EXPECT_EQ(extreme.closed[0].count, 3);
}

TEST(ExtremeTokens, TiesGoByIdAndNaNIsLeftOut) {
  const std::vector<std::int32_t> tokens = {4, 2, 8};
  const std::vector<float> scores = {0.5F, 0.5F, NAN};
  const ExtremeTokens extreme = extreme_tokens(tokens, scores, 1, 9);
  EXPECT_THAT(ids(extreme.open), testing::ElementsAre(2, 4));
  EXPECT_THAT(ids(extreme.closed), testing::ElementsAre(2, 4));
}

}  // namespace
}  // namespace hg::test
