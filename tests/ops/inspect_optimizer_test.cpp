#include "ops/inspect_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/optimizer.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

/// An AdamW step, its operands before and after, and what UpdateNorms says of it.
struct Step {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor before, master, m, v, gradient, out;
  AdamW adamw{};

  Step(Isa isa, std::int64_t n, double lr = 1e-2, double weight_decay = 0.1)
      : ctx(cpu_context(isa)) {
    before = memory.normal("master", {n});
    master = memory.copy(before, DType::f32);
    m = memory.normal("m", {n}, DType::f32, 0.1F);
    v = memory.normal("v", {n}, DType::f32, 0.3F);
    for (std::int64_t i = 0; i < n; ++i) set(v, i, get(v, i) * get(v, i));
    gradient = memory.normal("gradient", {n});
    out = memory.empty({UpdateNorms::kSums});
    adamw = {.master = master,
             .m = m,
             .v = v,
             .working = {},
             .gradient = gradient,
             .lr = lr,
             .beta1 = 0.9,
             .beta2 = 0.95,
             .eps = 1e-8,
             .weight_decay = weight_decay,
             .gradient_scale = 0.5F,
             .step = 4};
    run(*ctx, adamw);
  }
  /// Of elements [begin, end).
  UpdateNorms norms(std::int64_t begin, std::int64_t end) const {
    return {.out = out,
            .master = master.rows(begin, end),
            .m = m.rows(begin, end),
            .v = v.rows(begin, end),
            .gradient = gradient.rows(begin, end),
            .lr = adamw.lr,
            .beta1 = adamw.beta1,
            .beta2 = adamw.beta2,
            .eps = adamw.eps,
            .weight_decay = adamw.weight_decay,
            .gradient_scale = adamw.gradient_scale,
            .step = adamw.step};
  }
  std::array<double, 3> measure(std::int64_t begin, std::int64_t end) const {
    run(*ctx, norms(begin, end));
    return {get(out, 0), get(out, 1), get(out, 2)};
  }
  /// The weight that AdamW's formula gives back for element i, in f64.
  double weight_before(std::int64_t i) const {
    const auto step = static_cast<double>(adamw.step);
    const double c1 = 1 - std::pow(adamw.beta1, step), c2 = 1 - std::pow(adamw.beta2, step);
    const double u = double{get(m, i)} / c1 / (std::sqrt(double{get(v, i)} / c2) + adamw.eps);
    return (double{get(master, i)} + adamw.lr * u) / (1 - adamw.lr * adamw.weight_decay);
  }
};

class UpdateNormsTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, UpdateNormsTest, testing::ValuesIn(isas()));

void expect_close(const std::array<double, 3>& sums, const std::array<double, 3>& exact) {
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(sums[i], exact[i], kMeasured * exact[i]) << i;
}

TEST_P(UpdateNormsTest, FollowsTheDefinition) {
  for (const std::int64_t n : {1, 7, 16, 8193, 50021}) {
    for (const double lr : {1e-2, 1e-6}) {
      const Step step(GetParam(), n, lr);
      std::array<double, 3> exact{};
      for (std::int64_t i = 0; i < n; ++i) {
        const double w = get(step.master, i), g = 0.5 * double{get(step.gradient, i)};
        exact[0] += w * w;
        exact[1] += std::pow(w - step.weight_before(i), 2);
        exact[2] += g * g;
      }
      expect_close(step.measure(0, n), exact);
    }
  }
}

TEST_P(UpdateNormsTest, IsWhatTheWeightsMovedBy) {
  for (const double lr : {0.3, 3.0}) {  // so far that f32 holds the difference; beyond 0, too
    const Step step(GetParam(), 20000, lr, 0.5);
    double moved = 0;
    for (std::int64_t i = 0; i < 20000; ++i) {
      moved += std::pow(double{get(step.master, i)} - double{get(step.before, i)}, 2);
    }
    EXPECT_NEAR(step.measure(0, 20000)[1], moved, 1e-6 * moved);
  }
}

TEST_P(UpdateNormsTest, IsNotFiniteWhereTheWeightsBeforeAreLost) {
  const Step step(GetParam(), 100, 2, 0.5);
  EXPECT_FALSE(std::isfinite(step.measure(0, 100)[1]));
}

TEST_P(UpdateNormsTest, PartsAddUpToTheWhole) {
  const Step step(GetParam(), 30000);
  std::array<double, 3> sum{};
  for (const auto& [begin, end] : {std::pair{0, 5}, {5, 9006}, {9006, 30000}}) {
    const auto part = step.measure(begin, end);
    for (std::size_t i = 0; i < 3; ++i) sum[i] += part[i];
  }
  expect_close(step.measure(0, 30000), sum);
}

TEST_P(UpdateNormsTest, NoStepIsNoUpdate) {
  const Step step(GetParam(), 100, 0);
  EXPECT_EQ(step.measure(0, 100)[1], 0);
  UpdateNorms op =
      step.norms(0, 3);  // the rest of a vector holds nothing, and eps does not save it
  op.eps = 0;
  op.lr = 1e-2;
  run(*step.ctx, op);
  EXPECT_TRUE(std::isfinite(get(step.out, UpdateNorms::kUpdates)));
}

TEST_P(UpdateNormsTest, ShowsNaNAndInfinity) {
  const Step step(GetParam(), 20000);
  set(step.gradient, 12345, -INFINITY);
  set(step.m, 19999, NAN);
  const auto sums = step.measure(0, 20000);
  EXPECT_TRUE(std::isfinite(sums[UpdateNorms::kWeights]));
  EXPECT_TRUE(std::isnan(sums[UpdateNorms::kUpdates]));
  EXPECT_EQ(sums[UpdateNorms::kGradients], INFINITY);
}

TEST_P(UpdateNormsTest, SameBitsForAnyThreadCount) {
  const Step step(GetParam(), 100003);
  Tensors memory;
  expect_same_bits_for_any_thread_count([&] {
    step.measure(0, 100003);
    return std::vector{memory.copy(step.out, DType::f32)};
  });
}

TEST(UpdateNorms, RejectsWrongOperands) {
  const Step step(Isa::avx2, 16);
  UpdateNorms op = step.norms(0, 16);
  op.step = 0;
  EXPECT_THROW(run(*step.ctx, op), Error);
  op = step.norms(0, 16);
  op.gradient = op.gradient.rows(0, 15);
  EXPECT_THROW(run(*step.ctx, op), Error);
}

}  // namespace
}  // namespace hg::test
