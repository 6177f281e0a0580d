// The routers of transformers, as scripts/oracle/make_router_goldens.py recorded them.
#include <gtest/gtest.h>

#include <string>

#include "model/router_load.h"
#include "support/compare.h"
#include "support/paths.h"
#include "support/router.h"
#include "support/tolerance.h"
#include "train/safetensors.h"

namespace hg::test {
namespace {

class RouterGoldenTest : public testing::TestWithParam<std::tuple<std::string, Isa>> {
 protected:
  ConstTensor golden(const char* name) const {
    return file.tensor(std::get<0>(GetParam()) + "." + name);
  }
  float number(const char* name) const { return std::stof(file.metadata().at(name)); }

  SafetensorsFile file{source_path("tests/golden/router.safetensors")};
};
INSTANTIATE_TEST_SUITE_P(Cases, RouterGoldenTest,
                         testing::Combine(testing::Values("qwen3_moe", "qwen3_moe_normalized",
                                                          "qwen3_next", "qwen3_next_normalized",
                                                          "deepseek_v3", "deepseek_v3_normalized"),
                                          testing::ValuesIn(isas())),
                         [](const auto& one) {
                           return std::get<0>(one.param) +
                                  (std::get<1>(one.param) == Isa::avx512 ? "_avx512" : "_avx2");
                         });

TEST_P(RouterGoldenTest, ChoicesWeightsLossesAndGradientsAreThoseOfTransformers) {
  const auto& [name, isa] = GetParam();
  const bool deepseek = name.starts_with("deepseek");
  const std::int64_t tokens = golden("logits").dim(0), experts = golden("logits").dim(1);
  const std::int64_t k = golden("experts").dim(1);
  Router router(isa, {.tokens = tokens,
                      .experts = experts,
                      .k = k,
                      .function = {.score = deepseek ? RouterScore::sigmoid : RouterScore::softmax,
                                   .renormalize = name.ends_with("normalized"),
                                   .factor = deepseek ? number("factor") : 1}});
  router.logits = router.memory.copy(golden("logits"), DType::f32);
  router.dweights = router.memory.copy(golden("dweights"), DType::f32);
  if (deepseek) router.bias = router.memory.copy(golden("bias"), DType::f32);
  router.forward();
  EXPECT_TRUE(same_bits(router.experts, golden("experts")));
  EXPECT_LT(relative_error(router.weights, golden("weights")), kRouterGolden);

  RouterTotals totals(experts);
  totals.add(router.view(), k);
  const RouterLoad load = router_load(totals);
  const double balance_loss = double{get(golden("balance_loss"), 0)};
  const double z_loss = double{get(golden("z_loss"), 0)};
  EXPECT_NEAR(load.balance_loss * static_cast<double>(k), balance_loss,
              kRouterGolden * balance_loss);
  EXPECT_NEAR(load.z_loss, z_loss, kRouterGolden * z_loss);

  // f is not divided by K there.
  const auto t = static_cast<float>(tokens);
  for (std::int64_t e = 0; e < experts; ++e) {
    const auto f = static_cast<float>(router.counts.as<std::int32_t>()[e]) / t;
    set(router.balance, e, number("balance") * static_cast<float>(experts) * f / t);
  }
  router.z = number("z") / t;
  router.backward();
  EXPECT_LT(relative_error(router.dlogits, golden("dlogits")), kRouterGolden);
}

}  // namespace
}  // namespace hg::test
