#include "train/inspect/inspect_attention.h"

#include <gmock/gmock.h>

#include <cmath>

#include "support/saved_run.h"
#include "support/token_data.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Layers = std::vector<std::int64_t>;

class InspectAttentionTest : public testing::Test {
 protected:
  AttentionInspection inspect(const std::string& text, const Layers& layers) const {
    const TrainedRun run = open_trained_run(save_run(folder, config));
    return inspect_attention(run, run.tokenizer->encode(text), layers);
  }
  std::string error(const std::string& text, const Layers& layers) const {
    return error_of([&] { inspect(text, layers); });
  }

  TempFolder folder;
  RunConfig config = small_run_config();
};

/// Sums over each row of a map, and the mean entropy of its rows.
struct RowSums {
  std::vector<double> sums;
  double entropy = 0;

  RowSums(std::span<const float> map, std::int64_t tokens) {
    for (std::int64_t query = 0; query < tokens; ++query) {
      double& sum = sums.emplace_back();
      for (std::int64_t key = 0; key < tokens; ++key) {
        const double p = double{map[static_cast<std::size_t>(query * tokens + key)]};
        EXPECT_TRUE(key <= query || p == 0);
        sum += p;
        if (p > 0) entropy -= p * std::log(p) / static_cast<double>(tokens);
      }
    }
  }
};

TEST_F(InspectAttentionTest, NumbersAreThoseOfTheMaps) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    config.training.precision = precision;
    const AttentionInspection seen = inspect("Far from even.", {2, 0});
    EXPECT_THAT(seen.maps.layer_numbers, ElementsAre(2, 0));
    EXPECT_EQ(seen.maps.labels[4], "f");
    ASSERT_EQ(seen.layers.size(), 2U);
    for (std::int64_t i = 0; i < 2; ++i) {
      const LayerAttention& layer = seen.layers[static_cast<std::size_t>(i)];
      EXPECT_EQ(layer.layer, i == 0 ? 2 : 0);
      ASSERT_EQ(layer.heads.size(), 4U);
      AttentionNumbers mean{.first_token = 0, .entropy = 0, .max_logit = -1, .gate = 0};
      for (std::int64_t head = 0; head < 4; ++head) {
        const auto map = seen.maps.map(i, head);
        const RowSums rows(map, 14);
        for (const double sum : rows.sums) EXPECT_NEAR(sum, 1, kMeasured);
        const AttentionNumbers& numbers = layer.heads[static_cast<std::size_t>(head)];
        EXPECT_NEAR(numbers.first_token, first_token_share(map), kMeasured);
        EXPECT_NEAR(numbers.entropy, rows.entropy, 10 * kMeasured);  // of 14 logarithms each
        ASSERT_TRUE(numbers.gate);
        mean.first_token += numbers.first_token / 4;
        mean.entropy += numbers.entropy / 4;
        mean.max_logit = std::max(mean.max_logit, numbers.max_logit);
        *mean.gate += *numbers.gate / 4;
      }
      EXPECT_NEAR(layer.all.first_token, mean.first_token, kMeasured);
      EXPECT_NEAR(layer.all.entropy, mean.entropy, kMeasured);
      EXPECT_EQ(layer.all.max_logit, mean.max_logit);
      EXPECT_NEAR(layer.all.gate.value(), *mean.gate, kMeasured);
    }
  }
}

TEST_F(InspectAttentionTest, ASinkLeavesLessThanOne) {
  config.model.attention.sink = Sink::off_by_one;
  const AttentionInspection seen = inspect("Half of it", {1});
  EXPECT_NEAR(RowSums(seen.maps.map(0, 0), 10).sums[0], double{seen.maps.map(0, 0)[0]}, kMeasured);
  for (const double sum : RowSums(seen.maps.map(0, 3), 10).sums) EXPECT_LT(sum, 0.999);
}

TEST_F(InspectAttentionTest, GatesOfOtherHeadsBelongToTheLayer) {
  config.model.attention.gate.position = GatePosition::value;
  const LayerAttention valued = inspect("values", {0}).layers[0];
  EXPECT_TRUE(valued.all.gate);
  EXPECT_FALSE(valued.heads[0].gate);
  config.model.attention.gate.position = GatePosition::none;
  EXPECT_FALSE(inspect("none", {0}).layers[0].all.gate);
}

TEST_F(InspectAttentionTest, TextsHaveOneTo256Tokens) {
  EXPECT_NEAR(inspect("a", {0}).maps.map(0, 1)[0], 1, kMeasured);
  EXPECT_EQ(inspect(std::string(256, 'a'), {0}).maps.tokens, 256);
  EXPECT_THAT(error("", {0}), HasSubstr("empty"));
  EXPECT_THAT(error(std::string(257, 'a'), {0}), HasSubstr("257 tokens"));
  EXPECT_THAT(error("a", {3}), HasSubstr("layer 3; the model has layers 0 to 2"));
  config.model.max_position_embeddings = 40;
  EXPECT_THAT(error(std::string(41, 'a'), {0}), HasSubstr("at most 40, where the model's"));
}

TEST(RepresentativeLayers, AreThoseOfThePaper) {
  EXPECT_THAT(representative_layers(28), ElementsAre(0, 6, 20, 27));
  EXPECT_THAT(representative_layers(6), ElementsAre(0, 1, 3, 5));
  EXPECT_THAT(representative_layers(5), ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(representative_layers(4), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(representative_layers(1), ElementsAre(0));
}

}  // namespace
}  // namespace hg::test
