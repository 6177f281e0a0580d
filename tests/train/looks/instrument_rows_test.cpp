#include "train/looks/instrument_rows.h"

#include <gtest/gtest.h>

namespace hg::test {
namespace {

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
