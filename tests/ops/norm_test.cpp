#include "ops/norm.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr float kEps = 1e-6F;

/// One norm with its residual, in one element type.
struct Norm {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor x, delta, weight, y, sum, rstd, dy, dsum, dx, dweight;

  Norm(Isa isa, std::int64_t rows, std::int64_t d, DType dtype) : ctx(cpu_context(isa)) {
    x = memory.normal("x", {rows, d}, dtype);
    delta = memory.normal("delta", {rows, d}, dtype);
    weight = memory.normal("weight", {d}, dtype, 0.2F, 1);
    dy = memory.normal("dy", {rows, d}, dtype);
    dsum = memory.normal("dsum", {rows, d}, dtype);
    y = memory.empty({rows, d}, dtype);
    sum = memory.empty({rows, d}, dtype);
    dx = memory.empty({rows, d}, dtype);
    rstd = memory.empty({rows});
    dweight = memory.empty({d});
  }
  void forward() {
    run(*ctx, AddRmsNormForward{.y = y,
                                .sum = sum,
                                .rstd = rstd,
                                .x = x,
                                .delta = delta,
                                .weight = weight,
                                .eps = kEps});
  }
  void backward(bool accumulate = false) {
    run(*ctx, RmsNormBackward{.dx = dx,
                              .dweight = dweight,
                              .dy = dy,
                              .x = sum,
                              .rstd = rstd,
                              .weight = weight,
                              .dresidual = dsum,
                              .accumulate = accumulate});
  }
};

class NormTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, NormTest, testing::ValuesIn(isas()));

TEST_P(NormTest, BackwardAgreesWithFiniteDifferences) {
  for (const std::int64_t d : {16, 37}) {
    Norm norm(GetParam(), 3, d, DType::f32);
    norm.forward();
    norm.backward();
    expect_gradients({.forward = [&] { norm.forward(); },
                      .outputs = {{norm.y, norm.dy}, {norm.sum, norm.dsum}},
                      .inputs = {{"x", norm.x, norm.dx},
                                 {"delta", norm.delta, norm.dx},
                                 {"weight", norm.weight, norm.dweight}}});
  }
}

TEST_P(NormTest, FusedEqualsTheTwoPasses) {
  Norm norm(GetParam(), 5, 40, DType::f32);
  norm.forward();
  const Tensor y = norm.memory.empty({5, 40}), rstd = norm.memory.empty({5});
  run(*norm.ctx,
      RmsNormForward{.y = y, .rstd = rstd, .x = norm.sum, .weight = norm.weight, .eps = kEps});
  EXPECT_TRUE(same_bits(y, norm.y));
  EXPECT_TRUE(same_bits(rstd, norm.rstd));
}

TEST_P(NormTest, Bf16AgreesWithF32) {
  Norm narrow(GetParam(), 70, 48, DType::bf16), wide(GetParam(), 70, 48, DType::f32);
  narrow.forward();
  narrow.backward();
  wide.forward();
  wide.backward();
  EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dx, wide.dx), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dweight, wide.dweight), rounding(DType::bf16));
}

TEST_P(NormTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  Norm one(GetParam(), 200, 48, DType::f32), two(GetParam(), 200, 48, DType::f32);
  set_num_threads(1);
  one.forward();
  one.backward();
  set_num_threads(2);
  two.forward();
  two.backward();
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.y, two.y));
  EXPECT_TRUE(same_bits(one.dx, two.dx));
  EXPECT_TRUE(same_bits(one.dweight, two.dweight));
}

TEST_P(NormTest, AccumulateAddsToTheWeightGradient) {
  Norm once(GetParam(), 9, 24, DType::f32), twice(GetParam(), 9, 24, DType::f32);
  once.forward();
  once.backward();
  twice.forward();
  twice.backward();
  twice.backward(true);
  for (std::int64_t i = 0; i < 24; ++i) set(once.dweight, i, 2 * get(once.dweight, i));
  EXPECT_LT(relative_error(twice.dweight, once.dweight), kReordered);
}

TEST(Norm, RejectsAWrongShape) {
  Norm norm(Isa::avx2, 4, 16, DType::f32);
  norm.weight = norm.memory.normal("w", {15});
  EXPECT_THROW(norm.forward(), Error);
}

}  // namespace
}  // namespace hg::test
