#include "model/router_load.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/op_checks.h"
#include "support/router.h"

namespace hg::test {
namespace {

RouterTotals totals_of(const std::vector<std::int64_t>& choices, std::int64_t tokens) {
  RouterTotals totals(std::ssize(choices));
  totals.choices = choices;
  totals.tokens = tokens;
  return totals;
}

TEST(RouterLoad, OfEvenExperts) {
  RouterTotals totals = totals_of({50, 50, 50, 50}, 100);
  totals.probability_sums = {70, 10, 10, 10};
  const RouterLoad load = router_load(totals);
  EXPECT_DOUBLE_EQ(load.max_load, 1);
  EXPECT_DOUBLE_EQ(load.min_load, 1);
  EXPECT_DOUBLE_EQ(load.max_violation, 0);
  EXPECT_DOUBLE_EQ(load.load_cv, 0);
  EXPECT_DOUBLE_EQ(load.load_entropy, 1);
  EXPECT_EQ(load.dead_experts, 0);
  EXPECT_DOUBLE_EQ(load.balance_loss, 1) << "an even load costs 1, whatever the probabilities";
}

TEST(RouterLoad, OfUnevenExperts) {
  RouterTotals totals = totals_of({600, 396, 3, 1}, 500);  // ideal: 250
  totals.probability_sums = {300, 150, 25, 25};
  totals.dropped = 250;
  totals.top_probability = 400;
  totals.squared_lse = 1250;
  totals.largest_logit = 7;
  const RouterLoad load = router_load(totals);
  EXPECT_DOUBLE_EQ(load.max_load, 2.4);
  EXPECT_DOUBLE_EQ(load.min_load, 0.004);
  EXPECT_DOUBLE_EQ(load.max_violation, 1.4);
  EXPECT_DOUBLE_EQ(load.load_cv,
                   std::sqrt((350. * 350 + 146 * 146 + 247 * 247 + 249 * 249) / 4) / 250);
  const auto term = [](double p) { return -p * std::log(p); };
  EXPECT_DOUBLE_EQ(load.load_entropy,
                   (term(0.6) + term(0.396) + term(0.003) + term(0.001)) / std::log(4));
  EXPECT_EQ(load.dead_experts, 1) << "2.5 choices are the limit";
  EXPECT_DOUBLE_EQ(load.dropped, 0.25);
  EXPECT_DOUBLE_EQ(load.top_probability, 0.8);
  EXPECT_DOUBLE_EQ(load.largest_logit, 7);
  EXPECT_DOUBLE_EQ(load.balance_loss, 4 * (0.6 * 0.6 + 0.396 * 0.3 + 0.003 * 0.05 + 0.001 * 0.05));
  EXPECT_DOUBLE_EQ(load.z_loss, 2.5);
}

TEST(RouterLoad, OfACollapsedRouter) {
  const RouterLoad load = router_load(totals_of({0, 80, 0, 0}, 80));
  EXPECT_DOUBLE_EQ(load.max_load, 4);
  EXPECT_DOUBLE_EQ(load.min_load, 0);
  EXPECT_DOUBLE_EQ(load.load_cv, std::sqrt(3));
  EXPECT_DOUBLE_EQ(load.load_entropy, 0);
  EXPECT_EQ(load.dead_experts, 3);
}

TEST(RouterLoad, OfOneExpert) {
  const RouterLoad load = router_load(totals_of({9}, 9));
  EXPECT_DOUBLE_EQ(load.max_load, 1);
  EXPECT_DOUBLE_EQ(load.load_entropy, 1);
}

TEST(RouterLoad, NeedsTokens) { EXPECT_THROW(router_load(RouterTotals(4)), Error); }

TEST(RouterTotals, AddUpDocumentsAndMicroBatches) {
  const Router whole(Isa::avx2, {.tokens = 90, .experts = 19, .k = 3});
  const Router parts(Isa::avx2, {.tokens = 90, .experts = 19, .k = 3, .documents = {0, 7, 40, 90}});
  whole.forward();
  parts.forward();
  RouterTotals once(19), twice(19), sum(19);
  once.add(whole.view(), 3);
  twice.add(parts.view(), 3);
  twice.add(whole.view(), 3);
  sum.add(once);
  sum.add(once);
  EXPECT_EQ(once.tokens, 90);
  EXPECT_EQ(twice.tokens, 180);
  EXPECT_EQ(twice.choices, sum.choices);
  const RouterLoad a = router_load(twice), b = router_load(once);
  expect_measured(static_cast<float>(a.balance_loss), b.balance_loss, "balance loss");
  expect_measured(static_cast<float>(a.z_loss), b.z_loss, "z-loss");
  expect_measured(static_cast<float>(a.top_probability), b.top_probability, "top probability");
  EXPECT_EQ(a.largest_logit, b.largest_logit);
  EXPECT_THROW(once.add(RouterTotals(18)), Error);
  EXPECT_THROW(sum.add(whole.view(), 7), Error) << "270 choices of 7 each";
  EXPECT_THROW(RouterTotals(18).add(whole.view(), 3), Error);
}

TEST(RouterTotals, CountDroppedChoices) {
  const Router router(Isa::avx2, {.tokens = 5, .experts = 3, .k = 1});
  router.forward();
  *router.dropped.as<std::int32_t>() = 2;
  RouterTotals totals(3);
  totals.add(router.view(), 1);
  totals.add(router.view(), 1);
  EXPECT_EQ(totals.dropped, 4);
  EXPECT_DOUBLE_EQ(router_load(totals).dropped, 0.4);
}

}  // namespace
}  // namespace hg::test
