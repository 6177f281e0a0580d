#include "train/instrument_rows.h"

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

TEST(UpdateSummary, AddsUpByKindAndUnit) {
  const std::vector<UpdateGroup> groups = {
      {"embedding", "embedding", {.gradient = 1, .weight = 4, .update = 1}},
      {"gate", "layers.0", {.gradient = 9, .weight = 16, .update = 4}},
      {"mlp", "layers.0", {.gradient = 16, .weight = 9, .update = 0}},
      {"gate", "layers.1", {.gradient = 7, .weight = 9, .update = 0}}};
  const auto values = update_summary(groups);
  const auto value = [&](const std::string& name) {
    double result = -1;
    int found = 0;
    for (const auto& [key, x] : values) {
      if (key == name) result = x, ++found;
    }
    EXPECT_EQ(found, 1) << name;
    return result;
  };
  EXPECT_DOUBLE_EQ(value("grad_norm/embedding"), 1);
  EXPECT_DOUBLE_EQ(value("update_ratio/embedding"), 0.5);
  EXPECT_DOUBLE_EQ(value("grad_norm/gate"), 4);
  EXPECT_DOUBLE_EQ(value("weight_norm/gate"), 5);
  EXPECT_DOUBLE_EQ(value("grad_norm/layers.0"), 5);
  EXPECT_DOUBLE_EQ(value("weight_norm/layers.0"), 5);
  EXPECT_DOUBLE_EQ(value("weight_norm/gate/layers.0"), 4);
  EXPECT_DOUBLE_EQ(value("update_ratio/gate/layers.0"), 0.5);
  EXPECT_DOUBLE_EQ(value("update_ratio/layers.0"), 0.4);
}

}  // namespace
}  // namespace hg::test
