// RouterLoads, RouterBalance and RouterBiasUpdate of ops/route.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "support/op_checks.h"
#include "support/router.h"

namespace hg::test {
namespace {

using testing::ElementsAre;

class RouterBalanceTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, RouterBalanceTest, testing::ValuesIn(isas()));

TEST_P(RouterBalanceTest, LoadsAddUpCounts) {
  Tensors memory;
  const auto ctx = cpu_context(GetParam());
  const Tensor loads = memory.integers({1, 0, 100}),
               counts = memory.integers({2, 0, 5, 1, 0, 7}).view({2, 3});
  const auto add = [&](const ConstTensor& more) {
    run(*ctx, RouterLoads{.loads = loads, .counts = more});
    return integers_of(loads);
  };
  EXPECT_THAT(add(counts), ElementsAre(4, 0, 112));
  EXPECT_THAT(add(counts.rows(1, 2)), ElementsAre(5, 0, 119));
}

TEST_P(RouterBalanceTest, BalanceIsTheShareOfAnExpertInItsDocument) {
  Tensors memory;
  const auto ctx = cpu_context(GetParam());
  const Tensor balance = memory.empty({4, 2}),
               counts = memory.integers({3, 1, 0, 0, 0, 5, 2000000000, 2000000000}).view({4, 2});
  run(*ctx, RouterBalance{.balance = balance, .counts = counts, .coefficient = 0.5F});
  const float* values = balance.as<float>();
  EXPECT_THAT(std::vector(values, values + 8), ElementsAre(0.75F, 0.25F, 0, 0, 0, 1, 0.5F, 0.5F));
}

// The loss of which RouterBackward writes the gradient, with the balance that RouterBalance makes:
// coefficient E sum over e of f[e] P[e] of each document, times its tokens.
TEST_P(RouterBalanceTest, BalanceAgreesWithFiniteDifferencesOfTheLoss) {
  constexpr float kCoefficient = 0.7F;
  for (const RouterScore score : {RouterScore::softmax, RouterScore::sigmoid}) {
    for (const std::vector<std::int32_t>& documents :
         {std::vector<std::int32_t>{}, {0, 2, 2, 5, 6}}) {
      Router router(GetParam(), {.tokens = 6,
                                 .experts = 17,
                                 .k = 2,
                                 .function = {.score = score},
                                 .documents = documents});
      router.z = 0;
      for (std::int64_t i = 0; i < router.dweights.numel(); ++i) set(router.dweights, i, 0);
      router.forward();
      const Tensor dloss = router.memory.zeros({1}), loss = router.memory.empty({1});
      set(dloss, 0, 1);
      run(*router.ctx,
          RouterBalance{
              .balance = router.balance, .counts = router.counts, .coefficient = kCoefficient});
      router.backward();
      const std::vector<std::int32_t> counts = integers_of(router.counts);
      const auto measure = [&] {
        router.forward();
        double sum = 0;
        for (std::int64_t s = 0; s < router.counts.dim(0); ++s) {
          const auto first = counts.begin() + s * 17;
          const double choices = std::accumulate(first, first + 17, 0.0);
          for (std::int64_t e = 0; e < 17 && choices > 0; ++e) {
            sum += 17 * first[e] / choices * double{get(router.probability_sums, s * 17 + e)};
          }
        }
        set(loss, 0, static_cast<float>(double{kCoefficient} * sum));
      };
      expect_gradients({.forward = measure,
                        .outputs = {{loss, dloss}},
                        .inputs = {{"logits", router.logits, router.dlogits}}});
    }
  }
}

TEST_P(RouterBalanceTest, AnEvenLoadCostsTheCoefficient) {
  Tensors memory;
  const auto ctx = cpu_context(GetParam());
  const Tensor balance = memory.empty({1, 8}),
               counts = memory.integers(std::vector<std::int32_t>(8, 3)).view({1, 8});
  run(*ctx, RouterBalance{.balance = balance, .counts = counts, .coefficient = 0.01F});
  for (std::int64_t e = 0; e < 8; ++e) EXPECT_EQ(get(balance, e), 0.01F);  // sum over e of P is 1
}

TEST_P(RouterBalanceTest, BiasFollowsTheLoads) {
  Tensors memory;
  const auto ctx = cpu_context(GetParam());
  const Tensor bias = memory.zeros({4});
  const auto update = [&](const std::vector<std::int32_t>& loads) {
    run(*ctx, RouterBiasUpdate{.bias = bias, .loads = memory.integers(loads), .rate = 0.25F});
  };
  const auto biases = [&] { return std::vector<float>(bias.as<float>(), bias.as<float>() + 4); };
  update({7, 7, 7, 7});
  EXPECT_THAT(biases(), ElementsAre(0, 0, 0, 0));
  update({10, 7, 7, 4});
  EXPECT_THAT(biases(), ElementsAre(-0.25F, 0, 0, 0.25F));
  update({40, 0, 0, 0});  // -0.5, 0.25, 0.25, 0.5 before it is recentred
  EXPECT_THAT(biases(), ElementsAre(-0.625F, 0.125F, 0.125F, 0.375F));
}

TEST(RouterBalanceOps, RejectWrongOperands) {
  const Router router(Isa::avx2, {.tokens = 4, .experts = 8, .k = 2, .documents = {0, 3, 4}});
  EXPECT_THROW(run(*router.ctx, RouterLoads{.loads = router.counts, .counts = router.counts}),
               Error);
  EXPECT_THROW(run(*router.ctx, RouterBalance{.balance = router.balance,
                                              .counts = router.counts.rows(0, 1),
                                              .coefficient = 1}),
               Error);
}

}  // namespace
}  // namespace hg::test
