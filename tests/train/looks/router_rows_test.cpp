#include "train/looks/router_rows.h"

#include <gtest/gtest.h>

#include <map>

#include "core/arena.h"
#include "ops/route.h"

namespace hg::test {
namespace {

/// What a router of four experts and two choices wrote in a layer.
struct Written {
  std::vector<std::int32_t> loads;
  std::vector<float> probability_sums, statistics;
  std::int32_t dropped;
};

/// Layers 1 and 3 of experts; 0 and 2 are dense.
class RouterRowsTest : public testing::Test {
 protected:
  RouterRowsTest() {
    config.hidden_size = 32;
    config.num_hidden_layers = 4;
    config.num_attention_heads = config.num_key_value_heads = 2;
    config.head_dim = 16;
    config.moe.num_experts = 4;
    config.moe.top_k = 2;
    config.moe.dense_layers = {0, 2};
    arena.reserve(1 << 20);
    look.emplace(config, 100, arena);
    write(1, {{50, 50, 50, 50}, {70, 10, 10, 10}, {400, 30, 5}, 0});
    write(3, {{140, 58, 2, 0}, {40, 30, 20, 10}, {100, 90, 3}, 20});
  }
  void write(std::size_t layer, const Written& written) const {
    const RouterRecord& to = look->layers()[layer].router;
    std::ranges::copy(written.loads, to.loads.as<std::int32_t>());
    std::ranges::copy(written.probability_sums, to.probability_sums.as<float>());
    std::ranges::copy(written.statistics, to.statistics.as<float>());
    *to.dropped.as<std::int32_t>() = written.dropped;
  }

  ModelConfig config;
  Arena arena{"tables"};
  std::optional<Instruments> look;
};

/// -p ln p
double term(double p) { return -p * std::log(p); }

TEST_F(RouterRowsTest, SummariesPutLayersOfExpertsTogether) {
  std::map<std::string, double> values;
  for (const auto& [name, value] : router_summary(routed_layers(*look))) {
    EXPECT_TRUE(values.insert({name, value}).second) << name;
  }
  const double entropy = (term(0.7) + term(0.29) + term(0.01)) / std::log(4);
  const double cv = std::sqrt((1.8 * 1.8 + 0.16 * 0.16 + 0.96 * 0.96 + 1) / 4);
  const double balance = 2.8 * 0.4 + 1.16 * 0.3 + 0.04 * 0.2;
  const std::map<std::string, double> expected = {{"moe/max_load", 2.8},
                                                  {"moe/max_load/layers.1", 1},
                                                  {"moe/max_load/layers.3", 2.8},
                                                  {"moe/min_load", 0},
                                                  {"moe/max_violation", 1.8},
                                                  {"moe/load_cv", cv / 2},
                                                  {"moe/load_entropy", (1 + entropy) / 2},
                                                  {"moe/load_entropy/layers.1", 1},
                                                  {"moe/load_entropy/layers.3", entropy},
                                                  {"moe/dead_experts", 1},
                                                  {"moe/dead_experts/layers.1", 0},
                                                  {"moe/dead_experts/layers.3", 1},
                                                  {"moe/dropped", 0.05},
                                                  {"moe/top_probability", 0.6},
                                                  {"moe/max_logit", 5},
                                                  {"moe/balance_loss", (1 + balance) / 2},
                                                  {"moe/z_loss", 2.5}};
  EXPECT_EQ(values.size(), expected.size());
  for (const auto& [name, value] : expected) {
    ASSERT_TRUE(values.contains(name)) << name;
    EXPECT_NEAR(values.at(name), value, 1e-12) << name;
  }
}

TEST_F(RouterRowsTest, DetailsHaveEveryNumberAndExpert) {
  const auto layers = routed_layers(*look);
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[1].layer, 3);
  const auto details = router_details(layers[1]);
  EXPECT_EQ(details.at("load"), nlohmann::ordered_json({2.8, 1.16, 0.04, 0.0}));
  EXPECT_EQ(details.at("dead_experts").dump(), "1");
  EXPECT_DOUBLE_EQ(details.at("dropped"), 0.1);
  EXPECT_DOUBLE_EQ(details.at("top_probability"), 0.9);
  EXPECT_DOUBLE_EQ(details.at("max_logit"), 3);
  EXPECT_DOUBLE_EQ(details.at("z_loss"), 1);
  EXPECT_EQ(details.size(), 12U);
}

TEST_F(RouterRowsTest, ADenseModelHasNone) {
  config.moe.num_experts = 0;
  const Instruments dense(config, 100, arena);
  EXPECT_TRUE(router_summary(routed_layers(dense)).empty());
}

}  // namespace
}  // namespace hg::test
