// ExpertPlan of ops/dispatch.h.
#include "support/expert_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/op_checks.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ExpertPlanTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, ExpertPlanTest, testing::ValuesIn(isas()));

TEST_P(ExpertPlanTest, OrdersChoicesByExpertThenToken) {
  const Plan plan(GetParam(), {3, 1, 1, 0, 3, 0, 1, 3}, 2, 5);  // experts 2 and 4 are empty
  plan.make();
  EXPECT_THAT(integers_of(plan.counts), ElementsAre(2, 3, 0, 3, 0));
  EXPECT_THAT(integers_of(plan.offsets), ElementsAre(0, 2, 5, 5, 8, 8));
  EXPECT_THAT(integers_of(plan.rows), ElementsAre(5, 2, 3, 0, 6, 1, 4, 7));
  EXPECT_THAT(integers_of(plan.dropped), ElementsAre(0));
}

TEST_P(ExpertPlanTest, DropsLaterTokensBeyondTheCapacity) {
  const Plan plan(GetParam(), {3, 1, 1, 0, 3, 0, 1, 3}, 2, 5, 2);
  plan.make();
  EXPECT_THAT(integers_of(plan.counts), ElementsAre(2, 2, 0, 2, 0));
  EXPECT_THAT(integers_of(plan.offsets), ElementsAre(0, 2, 4, 4, 6, 6));
  EXPECT_THAT(integers_of(plan.rows), ElementsAre(4, 2, 3, 0, 5, 1, -1, -1));
  EXPECT_THAT(integers_of(plan.dropped), ElementsAre(2));
}

TEST_P(ExpertPlanTest, OfManyTokensIsAStableSort) {
  constexpr std::int64_t kTokens = 1000, kK = 4, kExperts = 9;
  for (const std::int64_t capacity : {0, 350, 5000}) {
    const std::vector<std::int32_t> choices = random_choices(kTokens, kK, kExperts);
    const Plan plan(GetParam(), choices, kK, kExperts, capacity);
    plan.make();
    std::vector<std::int32_t> expected(choices.size(), -1), counts;
    std::int32_t next = 0;
    for (std::int32_t e = 0; e < kExperts; ++e) {
      const std::int32_t first = next;
      for (std::size_t i = 0; i < choices.size(); ++i) {
        if (choices[i] == e && (capacity == 0 || next - first < capacity)) expected[i] = next++;
      }
      counts.push_back(next - first);
    }
    EXPECT_EQ(integers_of(plan.rows), expected);
    EXPECT_EQ(integers_of(plan.counts), counts);
    EXPECT_EQ(plan.dropped.as<std::int32_t>()[0], kTokens * kK - next);
    EXPECT_EQ(capacity == 350, next < kTokens * kK) << "only this capacity drops some";
  }
}

TEST_P(ExpertPlanTest, OfOneExpertForAllTokens) {
  const Plan plan(GetParam(), std::vector<std::int32_t>(600, 2), 1, 4);
  plan.make();
  EXPECT_THAT(integers_of(plan.offsets), ElementsAre(0, 0, 0, 600, 600));
  for (std::int32_t t = 0; t < 600; ++t) EXPECT_EQ(plan.rows.as<std::int32_t>()[t], t);
}

TEST_P(ExpertPlanTest, IsTheSameForAnyThreadCountInTheScratchOfAMetaRun) {
  std::vector<std::shared_ptr<Plan>> plans;
  expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
    const auto& plan = plans.emplace_back(
        std::make_shared<Plan>(GetParam(), random_choices(1000, 4, 9), 4, 9, 300));
    plan->make();
    return {plan->rows, plan->counts, plan->offsets, plan->dropped};
  });
  expect_measured_scratch_suffices(plans.front()->op(), GetParam());
}

TEST(ExpertPlanOp, RejectsWrongOperands) {
  const auto error_of_plan = [](const Plan& plan) { return error_of([&] { plan.make(); }); };
  EXPECT_THAT(error_of_plan(Plan(Isa::avx2, {0, 1, 5, 1}, 2, 5)), HasSubstr("experts[2] is 5"));
  EXPECT_THAT(error_of_plan(Plan(Isa::avx2, {0, 1}, 1, 5, -1)), HasSubstr("capacity is -1"));
}

}  // namespace
}  // namespace hg::test
