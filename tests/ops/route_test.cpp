#include "ops/route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "support/op_checks.h"
#include "support/router.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr RouterFunction kFunctions[] = {
    {.score = RouterScore::softmax, .renormalize = true, .factor = 1},
    {.score = RouterScore::softmax, .renormalize = false, .factor = 1.5F},
    {.score = RouterScore::sigmoid, .renormalize = true, .factor = 2.5F},
    {.score = RouterScore::sigmoid, .renormalize = false, .factor = 1},
};

class RouterTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, RouterTest, testing::ValuesIn(isas()));

TEST_P(RouterTest, AgreesWithTheFormulaInF64) {
  const std::vector<RouterSetup> setups = {
      {.tokens = 5, .experts = 1, .k = 1},     {.tokens = 5, .experts = 2, .k = 1},
      {.tokens = 130, .experts = 19, .k = 4},  {.tokens = 64, .experts = 16, .k = 16},
      {.tokens = 65, .experts = 128, .k = 8},  {.tokens = 3, .experts = 300, .k = 10},
      {.tokens = 2, .experts = 1024, .k = 10},
  };
  for (RouterSetup setup : setups) {
    for (const RouterFunction& function : kFunctions) {
      for (const bool biased : {false, true}) {
        setup.function = function;
        setup.biased = biased;
        const Router router(GetParam(), setup);
        // So far apart that f64 and f32 round to the same order, and yet no score vanishes.
        for (std::int64_t i = 0; i < router.logits.numel(); ++i) {
          set(router.logits, i, get(router.logits, i) * 3 / std::sqrt(float(setup.experts)));
        }
        router.forward();
        const RouterReference expected(router);
        EXPECT_EQ(integers_of(router.experts), integers_of(expected.experts)) << setup.experts;
        EXPECT_EQ(integers_of(router.counts), integers_of(expected.counts)) << setup.experts;
        EXPECT_LT(relative_error(router.weights, expected.weights), rounding(DType::f32));
        EXPECT_LT(relative_error(router.probability_sums, expected.probability_sums), kReordered);
        EXPECT_LT(relative_error(router.statistics, expected.statistics), kReordered);
      }
    }
  }
}

TEST_P(RouterTest, SumsByDocument) {
  const std::vector<std::int32_t> bounds{0, 1, 1, 64, 130, 300};
  const Router router(GetParam(), {.tokens = 300, .experts = 19, .k = 3, .documents = bounds});
  router.forward();
  const RouterReference expected(router);
  EXPECT_EQ(integers_of(router.counts), integers_of(expected.counts));
  EXPECT_LT(relative_error(router.probability_sums, expected.probability_sums), kReordered);
  EXPECT_LT(relative_error(router.statistics, expected.statistics), kReordered);
}

TEST_P(RouterTest, OfEqualScoresTheLowerExpertIsFirst) {
  for (const RouterFunction& function : kFunctions) {
    const Router router(GetParam(),
                        {.tokens = 2, .experts = 40, .k = 4, .function = function, .biased = true});
    for (std::int64_t i = 0; i < 80; ++i) set(router.logits, i, 0.5F);
    for (std::int64_t e = 0; e < 40; ++e) set(router.bias, e, 0);
    for (const std::int64_t e : {39, 20, 3}) set(router.logits, 40 + e, 0.75F);
    router.forward();
    EXPECT_THAT(integers_of(router.experts), ElementsAre(0, 1, 2, 3, 3, 20, 39, 0));
  }
}

TEST_P(RouterTest, BiasSelectsButDoesNotWeigh) {
  const Router router(GetParam(), {.tokens = 1, .experts = 3, .k = 2, .biased = true});
  for (std::int64_t e = 0; e < 3; ++e) {
    set(router.logits, e, std::log(static_cast<float>(e + 1)));  // scores 1/6, 2/6, 3/6
    set(router.bias, e, e == 0 ? 1.0F : 0.0F);
  }
  router.forward();
  EXPECT_THAT(integers_of(router.experts), ElementsAre(0, 2));
  expect_measured(get(router.weights, 0), 0.25, "weight");
  expect_measured(get(router.weights, 1), 0.75, "weight");
}

TEST_P(RouterTest, BackwardAgreesWithFiniteDifferences) {
  const std::vector<RouterSetup> setups = {
      {.tokens = 3, .experts = 11, .k = 3},
      {.tokens = 3, .experts = 11, .k = 3, .biased = true},
      {.tokens = 2, .experts = 9, .k = 9},
      {.tokens = 2, .experts = 9, .k = 1},
      {.tokens = 2, .experts = 1, .k = 1},
      {.tokens = 6, .experts = 17, .k = 2, .documents = {0, 2, 2, 5, 6}},
  };
  for (RouterSetup setup : setups) {
    for (const RouterFunction& function : kFunctions) {
      setup.function = function;
      Router router(GetParam(), setup);
      for (std::int64_t e = 0; router.bias && e < setup.experts; ++e) {
        set(router.bias, e, static_cast<float>(e % 3));  // makes no near ties: scores are below 1
      }
      router.forward();
      router.backward();
      const std::vector<std::int32_t> chosen = integers_of(router.experts);
      const Tensor dstatistics = router.memory.zeros(router.statistics.shape());
      set(dstatistics, RouterForward::kSquaredLse, router.z);
      expect_gradients({.forward =
                            [&] {
                              router.forward();
                              EXPECT_EQ(integers_of(router.experts), chosen) << "nudged over a tie";
                            },
                        .outputs = {{router.weights, router.dweights},
                                    {router.probability_sums, router.balance},
                                    {router.statistics, dstatistics}},
                        .inputs = {{"logits", router.logits, router.dlogits}}});
    }
  }
}

TEST_P(RouterTest, BackwardOfTheWeightsAlone) {
  for (const RouterFunction& function : kFunctions) {
    Router router(GetParam(), {.tokens = 3, .experts = 11, .k = 3, .function = function});
    router.balance = {};
    router.z = 0;
    router.forward();
    router.backward();
    expect_gradients({.forward = [&] { router.forward(); },
                      .outputs = {{router.weights, router.dweights}},
                      .inputs = {{"logits", router.logits, router.dlogits}}});
  }
}

TEST_P(RouterTest, BackwardMayReplaceTheLogits) {
  Router router(GetParam(), {.tokens = 20, .experts = 19, .k = 3});
  router.forward();
  router.backward();
  const Tensor apart = router.dlogits;
  router.dlogits = router.logits;
  router.backward();
  EXPECT_TRUE(same_bits(apart, router.logits));
}

TEST_P(RouterTest, ExtremeLogitsStayFinite) {
  for (const RouterFunction& function : kFunctions) {
    Router router(GetParam(), {.tokens = 3, .experts = 8, .k = 2, .function = function});
    for (std::int64_t e = 0; e < 8; ++e) {
      set(router.logits, e, -500);
      set(router.logits, 8 + e, e == 5 ? 500.0F : -500.0F);
      set(router.logits, 16 + e, 500);
    }
    router.forward();
    router.backward();
    EXPECT_EQ(router.experts.as<std::int32_t>()[2], 5);
    for (const Tensor& result : {router.weights, router.probability_sums, router.dlogits}) {
      for (std::int64_t i = 0; i < result.numel(); ++i) EXPECT_TRUE(std::isfinite(get(result, i)));
    }
  }
}

TEST_P(RouterTest, SameBitsForAnyThreadCount) {
  for (const RouterFunction& function : kFunctions) {
    expect_same_bits_for_any_thread_count(
        [&, routers = std::vector<std::shared_ptr<Router>>()]() mutable -> std::vector<Tensor> {
          const auto router = routers.emplace_back(std::make_shared<Router>(
              GetParam(), RouterSetup{.tokens = 500,
                                      .experts = 37,
                                      .k = 4,
                                      .function = function,
                                      .documents = {0, 3, 200, 450, 500}}));
          router->forward();
          router->backward();
          return {router->weights,          router->experts,    router->counts,
                  router->probability_sums, router->statistics, router->dlogits};
        });
  }
}

TEST_P(RouterTest, RunsInTheScratchThatAMetaRunMeasures) {
  const Router router(
      GetParam(), {.tokens = 300, .experts = 37, .k = 4, .documents = {0, 1, 2, 3, 63, 64, 300}});
  expect_measured_scratch_suffices(router.forward_op(), GetParam());
}

TEST_P(RouterTest, WhereALogitIsNotFiniteItsTokensWeightsAreNot) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    const Router router(GetParam(), {.tokens = 100, .experts = 19, .k = 2, .biased = true}),
        healthy(GetParam(), {.tokens = 100, .experts = 19, .k = 2, .biased = true});
    set(router.logits, 71 * 19 + 4, bad);
    for (int e = 0; e < 19; ++e) set(router.logits, 90 * 19 + e, bad);
    for (const Router* each : {&router, &healthy}) each->forward();
    for (std::int64_t t = 0; t < 100; ++t) {
      const auto* chosen = router.experts.as<std::int32_t>() + 2 * t;
      const bool of_bad = t == 71 || t == 90;
      for (std::int64_t i = 0; i < 2; ++i) {
        EXPECT_EQ(std::isnan(get(router.weights, 2 * t + i)), of_bad) << t;
        EXPECT_EQ(chosen[i], of_bad ? i : healthy.experts.as<std::int32_t>()[2 * t + i]) << t;
      }
    }
  }
}

TEST(Router, ABiasThatIsNotFiniteIsAnError) {
  const Router router(Isa::avx2, {.tokens = 4, .experts = 19, .k = 2, .biased = true});
  set(router.bias, 7, std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(error_of([&] { router.forward(); }), HasSubstr("the bias of expert 7 is nan"));
}

TEST(Router, RejectsWrongOperands) {
  const RouterSetup setup{.tokens = 4, .experts = 8, .k = 2, .documents = {0, 3, 4}};
  const auto error = [](const Router& router) { return error_of([&] { router.forward(); }); };
  EXPECT_THAT(error(Router(Isa::avx2, {.tokens = 4, .experts = 8, .k = 9})),
              HasSubstr("9 experts for a token, expected 1 to all 8"));
  EXPECT_THAT(error(Router(Isa::avx2, {.tokens = 4, .experts = 1025, .k = 2})),
              HasSubstr("1025 experts, expected 1 to 1024"));
  EXPECT_THAT(error(Router(Isa::avx2, {.tokens = 4, .experts = 8, .k = 2, .documents = {0, 5}})),
              HasSubstr("documents begin at 0 and end at 5"));
  Router router(Isa::avx2, setup);
  router.counts = router.counts.rows(0, 1);
  EXPECT_THAT(error(router), HasSubstr("operand 'counts' is i32 [1, 8], expected i32 [2, 8]"));
  Router other(Isa::avx2, setup);
  other.forward();
  other.experts.as<std::int32_t>()[5] = 8;
  EXPECT_THAT(error_of([&] { other.backward(); }), HasSubstr("experts[5] is 8"));
  other.balance = other.balance.rows(0, 1);
  EXPECT_THROW(other.backward(), Error);
}

}  // namespace
}  // namespace hg::test
