// What headgate selftest reports, and that it would report a fault.
#include "train/selftest/selftest.h"

#include <gtest/gtest.h>

#include <limits>

#include "train/selftest/selftest_step.h"

namespace hg::test {
namespace {

void expect_all_ok(const std::function<void(const SelftestReport&)>& check, std::size_t least) {
  std::size_t results = 0;
  check([&](const SelftestResult& result) {
    ++results;
    EXPECT_TRUE(result.ok()) << result.to_string();
  });
  EXPECT_GE(results, least);
}

TEST(Selftest, GradientsAreThoseOfTheLoss) { expect_all_ok(check_gradients, 15); }
TEST(Selftest, KernelsAgree) { expect_all_ok(check_machine, 3); }
TEST(Selftest, LayoutsAgree) { expect_all_ok(check_layouts, 10); }

TEST(Selftest, AWrongGradientIsFound) {
  SelftestStep model(selftest_models().front().config, detect_cpu());
  model.run();
  for (const ParamState& state : model.states()) {
    ASSERT_LT(derivative_error(model, state, 0), 1e-2) << state.spec.name;
    auto* gradient = state.gradient.as<float>();
    for (std::int64_t i = 0; i < state.gradient.numel(); ++i) gradient[i] *= 1.05F;
    EXPECT_GT(derivative_error(model, state, 0), 1e-2) << state.spec.name;
  }
}

TEST(Selftest, NoNumberIsAnError) {
  SelftestResult result{.part = "p", .what = "w", .error = 0, .limit = 1, .where = "here"};
  EXPECT_TRUE(result.ok());
  result.error = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.to_string().substr(0, 5), "ERROR");
}

TEST(Selftest, TheLargestErrorStays) {
  SelftestResult result{.part = "p", .what = "w", .error = 0, .limit = 1, .where = {}};
  result.see(0.5, "a");
  result.see(0.25, "b");
  EXPECT_EQ(result.error, 0.5);
  EXPECT_EQ(result.where, "a");
  result.see(std::numeric_limits<double>::quiet_NaN(), "c");
  result.see(0.75, "d");
  EXPECT_FALSE(result.ok());
  EXPECT_EQ(result.where, "c");
}

}  // namespace
}  // namespace hg::test
