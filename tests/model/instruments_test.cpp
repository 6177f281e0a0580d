// What instruments see of a whole forward pass, against PyTorch.
#include "model/instruments.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/router_load.h"
#include "ops/inspect_activations.h"
#include "ops/inspect_gate.h"
#include "support/compare.h"
#include "support/golden_model.h"
#include "support/router.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

class InstrumentsTest : public testing::TestWithParam<std::tuple<const char*, Isa>> {
 protected:
  InstrumentsTest() { model.run.model.forward(model.run.ctx, golden.batch, model.losses, &look); }

  /// What PyTorch saw of a layer.
  ConstTensor seen(std::size_t layer, const char* what) const {
    return golden.file.tensor(fmt::format("seen.layers.{}.{}", layer, what));
  }
  /// Some columns of the first rows of a matrix, as a matrix.
  Tensor columns(const Tensor& of, std::int64_t rows, const std::vector<int>& wanted) {
    const auto count = static_cast<std::int64_t>(wanted.size());
    const Tensor result = model.memory.empty({rows, count});
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = 0; i < count; ++i)
        set(result, row * count + i,
            get(of, row * of.dim(1) + wanted[static_cast<std::size_t>(i)]));
    }
    return result;
  }

  Golden golden{std::get<0>(GetParam())};
  Loaded model{golden, std::get<1>(GetParam())};
  Instruments look{golden.config, golden.batch.tokens.numel(), model.run.tables};
};
INSTANTIATE_TEST_SUITE_P(Goldens, InstrumentsTest,
                         testing::Combine(testing::Values("elementwise", "headwise", "value",
                                                          "mean_scores", "sink_learned"),
                                          testing::ValuesIn(isas())));

TEST_P(InstrumentsTest, AttentionIsThatOfPyTorch) {
  ASSERT_EQ(std::ssize(look.layers()), golden.config.num_hidden_layers);
  for (std::size_t i = 0; i < look.layers().size(); ++i) {
    const Instruments::Layer& layer = look.layers()[i];
    const std::int64_t heads = golden.config.num_attention_heads;
    const auto vector = [&](const Tensor& of, int column) {
      return columns(of, heads, {column}).view({heads});
    };
    EXPECT_LT(relative_error(vector(layer.first_token, 0), seen(i, "first_token")), kMeasured);
    EXPECT_LT(relative_error(vector(layer.entropy, 0), seen(i, "entropy")), kMeasured);
    EXPECT_LT(relative_error(vector(layer.entropy, 1), seen(i, "max_logit")), kMeasured);
    // No document has 64 tokens.
    for (std::int64_t head = 0; head < heads; ++head)
      EXPECT_TRUE(std::isnan(get(layer.first_token, 2 * head + 1)));
  }
}

TEST_P(InstrumentsTest, GateScoresAreThoseOfPyTorch) {
  const bool gated = golden.config.attention.gate.position != GatePosition::none;
  for (std::size_t i = 0; i < look.layers().size(); ++i) {
    const Instruments::Layer& layer = look.layers()[i];
    ASSERT_EQ(static_cast<bool>(layer.gate_heads), gated);
    if (!gated) continue;
    const ConstTensor expected = seen(i, "gate");
    const Tensor scores =
        columns(layer.gate_heads, expected.dim(0),
                {GateScores::kMean, GateScores::kShareBelow01, GateScores::kQuantile01,
                 GateScores::kMedian, GateScores::kQuantile99});
    for (std::int64_t j = 0; j < scores.numel(); ++j)
      EXPECT_NEAR(get(scores, j), get(expected, j), kMeasured) << "element " << j;
    const auto mean = [](const Tensor& statistics) { return get(statistics, Magnitudes::kMean); };
    const ConstTensor means = seen(i, "gate_mean_abs");
    EXPECT_NEAR(mean(layer.gated_from), get(means, 0), kMeasured * get(means, 0));
    EXPECT_NEAR(mean(layer.gated), get(means, 1), kMeasured * get(means, 1));
  }
}

TEST_P(InstrumentsTest, TheStreamIsThatOfPyTorch) {
  for (std::size_t i = 0; i < look.layers().size(); ++i) {
    const ConstTensor expected = seen(i, "stream_max");
    for (std::int64_t branch = 0; branch < 2; ++branch) {
      const Tensor& stream = look.layers()[i].stream[branch];
      const float most = get(expected, branch);
      EXPECT_NEAR(get(stream, Magnitudes::kMax), most, kMeasured * most);
    }
  }
}

TEST(InstrumentsOfExperts, SumARouterOverDocuments) {
  const Router router(Isa::avx2, {.tokens = 50, .experts = 6, .k = 2, .documents = {0, 9, 50}});
  router.forward();
  *router.dropped.as<std::int32_t>() = 3;
  ModelConfig config;
  config.vocab_size = 32;
  config.hidden_size = 32;
  config.num_hidden_layers = 3;
  config.num_attention_heads = config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.intermediate_size = 32;
  config.moe.num_experts = 6;
  config.moe.top_k = 2;
  config.moe.dense_layers = {0};
  Arena arena("tables");
  arena.reserve(1 << 20);
  const Instruments look(config, 50, arena);
  EXPECT_FALSE(look.layers()[0].router);
  for (int again = 0; again < 2; ++again) look.see_router(*router.ctx, 2, router.view());

  const RouterRecord& seen = look.layers()[2].router;
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen.top_k, 2);
  const auto* counts = router.counts.as<std::int32_t>();
  for (std::int64_t e = 0; e < 6; ++e) {
    EXPECT_EQ(seen.loads.as<std::int32_t>()[e], counts[e] + counts[6 + e]);
    EXPECT_FLOAT_EQ(get(seen.probability_sums, e),
                    get(router.probability_sums, e) + get(router.probability_sums, 6 + e));
  }
  EXPECT_TRUE(same_bits(seen.statistics, router.statistics));
  EXPECT_EQ(*seen.dropped.as<std::int32_t>(), 3);
  RouterTotals seen_totals(6), totals(6);
  seen_totals.add(seen.view(), seen.top_k);
  totals.add(router.view(), 2);
  EXPECT_EQ(seen_totals.tokens, 50);
  EXPECT_EQ(seen_totals.choices, totals.choices);
  EXPECT_THROW(look.see_router(*router.ctx, 0, router.view()), Error);
}

}  // namespace
}  // namespace hg::test
