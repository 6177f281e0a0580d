#include "ops/dispatch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/op_checks.h"
#include "support/tensors.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::int32_t> integers_of(const ConstTensor& tensor) {
  const auto* values = tensor.as<std::int32_t>();
  return {values, values + tensor.numel()};
}

/// The plan for given choices.
struct Plan {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor experts, rows, counts, offsets, dropped;
  std::int64_t capacity;

  Plan(Isa isa, const std::vector<std::int32_t>& choices, std::int64_t k, std::int64_t count,
       std::int64_t most = 0)
      : ctx(cpu_context(isa)), capacity(most) {
    experts = memory.integers(choices).view({std::ssize(choices) / k, k});
    rows = memory.empty(experts.shape(), DType::i32);
    counts = memory.empty({count}, DType::i32);
    offsets = memory.empty({count + 1}, DType::i32);
    dropped = memory.empty({1}, DType::i32);
  }
  ExpertPlan op() const {
    return {.rows = rows,
            .counts = counts,
            .offsets = offsets,
            .dropped = dropped,
            .experts = experts,
            .capacity = capacity};
  }
  void make() const { run(*ctx, op()); }
};

/// K different experts of `count` for each token, most often the first ones.
std::vector<std::int32_t> random_choices(std::int64_t tokens, std::int64_t k, std::int64_t count) {
  const RandomStream stream(5, "choices");
  std::vector<std::int32_t> result;
  for (std::uint64_t draw = 0; std::ssize(result) < tokens * k; ++draw) {
    const auto e =
        static_cast<std::int32_t>(std::abs(stream.normal(draw)) * static_cast<float>(count) / 3);
    const auto token = result.end() - std::ssize(result) % k;
    if (e < count && std::find(token, result.end(), e) == result.end()) result.push_back(e);
  }
  return result;
}

/// Tokens on their way to experts and back.
struct Dispatch {
  Plan plan;
  Tensors memory;
  Tensor x, dx, permuted, dpermuted, y, dy, weights, dweights;

  Dispatch(Isa isa, std::int64_t tokens, std::int64_t h, DType dtype, std::int64_t capacity,
           std::int64_t k = 3)
      : plan(isa, random_choices(tokens, k, 7), k, 7, capacity) {
    plan.make();
    x = memory.normal("x", {tokens, h}, dtype);
    dx = memory.empty(x.shape(), dtype);
    permuted = memory.zeros({tokens * k, h}, dtype);
    dpermuted = memory.zeros(permuted.shape(), dtype);
    y = memory.empty(x.shape(), dtype);
    dy = memory.normal("dy", x.shape(), dtype);
    weights = memory.normal("weights", {tokens, k});
    dweights = memory.empty(weights.shape());
  }
  void permute() const { run(*plan.ctx, PermuteForward{.y = permuted, .x = x, .rows = plan.rows}); }
  void permute_backward() const {
    run(*plan.ctx, PermuteBackward{.dx = dx, .dy = dpermuted, .rows = plan.rows});
  }
  void combine() const {
    run(*plan.ctx, CombineForward{.y = y, .x = permuted, .weights = weights, .rows = plan.rows});
  }
  void combine_backward(const Tensor& to) const {
    run(*plan.ctx, CombineBackward{.dx = to,
                                   .dweights = dweights,
                                   .dy = dy,
                                   .x = permuted,
                                   .weights = weights,
                                   .rows = plan.rows});
  }
  /// There and back again; experts do nothing.
  void forward() const { permute(), combine(); }
  void backward() const { combine_backward(dpermuted), permute_backward(); }
};

class DispatchTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, DispatchTest, testing::ValuesIn(isas()));

TEST_P(DispatchTest, PlanOrdersChoicesByExpertThenToken) {
  const Plan plan(GetParam(), {3, 1, 1, 0, 3, 0, 1, 3}, 2, 5);  // experts 2 and 4 are empty
  plan.make();
  EXPECT_THAT(integers_of(plan.counts), ElementsAre(2, 3, 0, 3, 0));
  EXPECT_THAT(integers_of(plan.offsets), ElementsAre(0, 2, 5, 5, 8, 8));
  EXPECT_THAT(integers_of(plan.rows), ElementsAre(5, 2, 3, 0, 6, 1, 4, 7));
  EXPECT_THAT(integers_of(plan.dropped), ElementsAre(0));
}

TEST_P(DispatchTest, PlanDropsLaterTokensBeyondTheCapacity) {
  const Plan plan(GetParam(), {3, 1, 1, 0, 3, 0, 1, 3}, 2, 5, 2);
  plan.make();
  EXPECT_THAT(integers_of(plan.counts), ElementsAre(2, 2, 0, 2, 0));
  EXPECT_THAT(integers_of(plan.offsets), ElementsAre(0, 2, 4, 4, 6, 6));
  EXPECT_THAT(integers_of(plan.rows), ElementsAre(4, 2, 3, 0, 5, 1, -1, -1));
  EXPECT_THAT(integers_of(plan.dropped), ElementsAre(2));
}

TEST_P(DispatchTest, PlanOfManyTokensIsAStableSort) {
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

TEST_P(DispatchTest, PlanOfOneExpertForAllTokens) {
  const Plan plan(GetParam(), std::vector<std::int32_t>(600, 2), 1, 4);
  plan.make();
  EXPECT_THAT(integers_of(plan.offsets), ElementsAre(0, 0, 0, 600, 600));
  for (std::int32_t t = 0; t < 600; ++t) EXPECT_EQ(plan.rows.as<std::int32_t>()[t], t);
}

TEST_P(DispatchTest, PlanIsTheSameForAnyThreadCountInTheScratchOfAMetaRun) {
  std::vector<std::shared_ptr<Plan>> plans;
  expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
    const auto& plan = plans.emplace_back(
        std::make_shared<Plan>(GetParam(), random_choices(1000, 4, 9), 4, 9, 300));
    plan->make();
    return {plan->rows, plan->counts, plan->offsets, plan->dropped};
  });
  expect_measured_scratch_suffices(plans.front()->op(), GetParam());
}

TEST_P(DispatchTest, PermutedRowsAreTheirTokens) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Dispatch d(GetParam(), 40, 19, dtype, 9);
    d.permute();
    std::int64_t kept = 0;
    for (std::int64_t i = 0; i < 40 * 3; ++i) {
      const std::int32_t row = d.plan.rows.as<std::int32_t>()[i];
      if (row < 0) continue;
      ++kept;
      EXPECT_TRUE(same_bits(d.permuted.rows(row, row + 1), d.x.rows(i / 3, i / 3 + 1)));
    }
    EXPECT_EQ(kept, d.plan.offsets.as<std::int32_t>()[7]);
    const Tensor nobodys = d.permuted.rows(kept, 40 * 3);
    EXPECT_GT(nobodys.numel(), 0);
    for (std::int64_t i = 0; i < nobodys.numel(); ++i) EXPECT_EQ(get(nobodys, i), 0);
  }
}

TEST_P(DispatchTest, DroppedChoicesAddNothing) {
  Dispatch d(GetParam(), 20, 19, DType::f32, 1);
  const std::int32_t kept = d.plan.offsets.as<std::int32_t>()[7];
  for (std::int64_t i = kept * 19; i < d.permuted.numel(); ++i) {
    set(d.permuted, i, NAN);  // rows of nobody may hold anything
    set(d.dpermuted, i, NAN);
  }
  d.forward();
  d.backward();
  for (std::int64_t t = 0; t < 20; ++t) {
    for (std::int64_t i = 0; i < 19; ++i) {
      double y = 0, dx = 0;
      for (std::int64_t slot = t * 3; slot < t * 3 + 3; ++slot) {
        const bool dropped = d.plan.rows.as<std::int32_t>()[slot] < 0;
        EXPECT_EQ(get(d.dweights, slot) == 0, dropped);
        const double weight = dropped ? 0 : double{get(d.weights, slot)};
        y += weight * double{get(d.x, t * 19 + i)};
        dx += weight * double{get(d.dy, t * 19 + i)};
      }
      expect_measured(get(d.y, t * 19 + i), y, "y");
      expect_measured(get(d.dx, t * 19 + i), dx, "dx");
    }
  }
}

TEST_P(DispatchTest, BackwardAgreesWithFiniteDifferences) {
  for (const std::int64_t capacity : {0, 2}) {
    for (const std::int64_t k : {1, 3, 7}) {
      const Dispatch d(GetParam(), 6, 19, DType::f32, capacity, k);
      d.forward();
      d.backward();
      expect_gradients({.forward = [&] { d.forward(); },
                        .outputs = {{d.y, d.dy}},
                        .inputs = {{"x", d.x, d.dx}, {"weights", d.weights, d.dweights}}});
      expect_gradients({.forward = [&] { d.combine(); },
                        .outputs = {{d.y, d.dy}},
                        .inputs = {{"permuted x", d.permuted, d.dpermuted}}});
    }
  }
}

TEST_P(DispatchTest, CombineBackwardMayReplaceItsInput) {
  const Dispatch d(GetParam(), 20, 19, DType::f32, 5);
  d.forward();
  d.combine_backward(d.dpermuted);
  const Tensor apart = d.dweights;
  Dispatch again(GetParam(), 20, 19, DType::f32, 5);
  again.forward();
  again.combine_backward(again.permuted);
  EXPECT_TRUE(same_bits(again.permuted, d.dpermuted));
  EXPECT_TRUE(same_bits(again.dweights, apart));
}

TEST_P(DispatchTest, Bf16AgreesWithF32) {
  const Dispatch narrow(GetParam(), 70, 48, DType::bf16, 0),
      wide(GetParam(), 70, 48, DType::f32, 0);
  for (const Dispatch* d : {&narrow, &wide}) d->forward(), d->backward();
  EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dx, wide.dx), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dweights, wide.dweights), rounding(DType::bf16));
}

TEST_P(DispatchTest, SameBitsForAnyThreadCount) {
  std::vector<std::shared_ptr<Dispatch>> runs;
  expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
    const auto& d =
        runs.emplace_back(std::make_shared<Dispatch>(GetParam(), 300, 40, DType::bf16, 100));
    d->forward();
    d->backward();
    return {d->permuted, d->y, d->dpermuted, d->dweights, d->dx};
  });
}

TEST(Dispatch, RejectsWrongOperands) {
  const auto error_of_plan = [](const Plan& plan) { return error_of([&] { plan.make(); }); };
  EXPECT_THAT(error_of_plan(Plan(Isa::avx2, {0, 1, 5, 1}, 2, 5)), HasSubstr("experts[2] is 5"));
  EXPECT_THAT(error_of_plan(Plan(Isa::avx2, {0, 1}, 1, 5, -1)), HasSubstr("capacity is -1"));
  Dispatch d(Isa::avx2, 6, 16, DType::f32, 0);
  auto* rows = d.plan.rows.as<std::int32_t>();
  rows[4] = 18;
  EXPECT_THAT(error_of([&] { d.forward(); }),
              HasSubstr("permute_forward: rows[4] is 18, expected -1 or a value in [0, 18)"));
  rows[4] = -2;
  EXPECT_THAT(error_of([&] { d.backward(); }), HasSubstr("combine_backward: rows[4] is -2"));
  d.permuted = d.permuted.rows(0, 17);
  EXPECT_THAT(error_of([&] { d.permute(); }), HasSubstr("'y' is f32 [17, 16]"));
  d.weights = d.memory.normal("w", {6, 2});
  EXPECT_THROW(d.combine(), Error);
}

}  // namespace
}  // namespace hg::test
