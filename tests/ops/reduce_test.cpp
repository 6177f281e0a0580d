#include "ops/reduce.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr std::int64_t kKv = 2, kG = 3;

/// Rows to sum, in a wider matrix.
struct Sum {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor wide, x, dparam;

  Sum(Isa isa, std::int64_t tokens, std::int64_t n, DType dtype) : ctx(cpu_context(isa)) {
    wide = memory.normal("x", {tokens, n + 3}, dtype);
    x = wide.slice(1, 3, n + 3);
    dparam = memory.empty({n});
  }
  void forward(bool accumulate = false) {
    run(*ctx, SumTokens{.dparam = dparam, .x = x, .accumulate = accumulate});
  }
};

/// Scores of heads, as slices of a fused projection [T, W].
struct HeadSum {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor fused, dfused, x, dx, y, dy;
  Activation activation;

  HeadSum(Isa isa, std::int64_t tokens, std::int64_t e, DType dtype, Activation function)
      : ctx(cpu_context(isa)), activation(function) {
    const std::int64_t width = kG * e + 5;
    fused = memory.normal("fused", {tokens, kKv * width}, dtype, 2);
    dfused = memory.zeros(fused.shape(), dtype);
    const auto cut = [&](const Tensor& buffer) {
      return buffer.split(1, kKv, width).slice(2, 5, width).split(2, kG, e);
    };
    x = cut(fused);
    dx = cut(dfused);
    y = memory.empty({tokens, 1, 1, e}, dtype);
    dy = memory.normal("dy", y.shape(), dtype);
  }
  void forward() {
    run(*ctx, SumHeadsForward{.y = y, .x = x, .activation = activation, .factor = 0.25F});
  }
  void backward() {
    run(*ctx,
        SumHeadsBackward{.dx = dx, .dy = dy, .x = x, .activation = activation, .factor = 0.25F});
  }
};

constexpr Activation kActivations[] = {Activation::sigmoid, Activation::silu,
                                       Activation::ns_sigmoid, Activation::identity};

double activate(Activation activation, double z) {
  const double s = 1 / (1 + std::exp(-z));
  switch (activation) {
    case Activation::sigmoid:
      return s;
    case Activation::silu:
      return z * s;
    case Activation::ns_sigmoid:
      return 0.5 + 0.5 * s;
    case Activation::identity:
      return z;
  }
  return NAN;
}

class ReduceTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, ReduceTest, testing::ValuesIn(isas()));

TEST_P(ReduceTest, SumsTokensAsInF64) {
  for (const DType dtype : {DType::f32, DType::bf16}) {  // exact to f32 in either: bf16 is widened
    for (const std::int64_t tokens : {1, 64, 131}) {
      Sum sum(GetParam(), tokens, 37, dtype);
      sum.forward();
      const Tensor expected = sum.memory.empty({37});
      for (std::int64_t i = 0; i < 37; ++i) {
        double total = 0;
        for (std::int64_t t = 0; t < tokens; ++t) total += double{get(sum.wide, t * 40 + 3 + i)};
        set(expected, i, static_cast<float>(total));
      }
      EXPECT_LT(relative_error(sum.dparam, expected), kReordered) << tokens;
    }
  }
}

TEST_P(ReduceTest, SumAddsToTheGradientIfAsked) {
  Sum once(GetParam(), 70, 24, DType::f32), twice(GetParam(), 70, 24, DType::f32);
  once.forward();
  twice.forward();
  twice.forward(true);
  for (std::int64_t i = 0; i < 24; ++i) set(once.dparam, i, 2 * get(once.dparam, i));
  EXPECT_LT(relative_error(twice.dparam, once.dparam), kReordered);
}

TEST_P(ReduceTest, SumRunsInTheScratchThatAMetaRunMeasures) {
  Sum sum(GetParam(), 131, 24, DType::f32);
  Context meta;
  meta.device = Device::meta;
  run(meta, SumTokens{.dparam = sum.dparam, .x = sum.x, .accumulate = false});
  sum.ctx = std::make_unique<Context>();
  sum.ctx->cpu.isa = GetParam();
  sum.ctx->scratch.reserve(meta.scratch.high_water());
  EXPECT_NO_THROW(sum.forward());
  EXPECT_EQ(sum.ctx->scratch.used(), 0U);
}

TEST_P(ReduceTest, HeadSumAgreesWithTheFormulaInF64) {
  for (const Activation activation : kActivations) {
    for (const std::int64_t e : {1, 19}) {
      HeadSum heads(GetParam(), 20, e, DType::f32, activation);
      heads.forward();
      const Tensor expected = heads.memory.empty(heads.y.shape());
      for (std::int64_t i = 0; i < expected.numel(); ++i) {
        double sum = 0;
        for (std::int64_t head = 0; head < kKv * kG; ++head) {
          const ConstTensor x = heads.x;
          sum += activate(activation,
                          double{x.as<float>()[i / e * x.stride(0) + head / kG * x.stride(1) +
                                               head % kG * x.stride(2) + i % e]});
        }
        set(expected, i, static_cast<float>(sum * 0.25));
      }
      EXPECT_LT(relative_error(heads.y, expected), rounding(DType::f32)) << e;
    }
  }
}

TEST_P(ReduceTest, HeadSumBackwardAgreesWithFiniteDifferences) {
  for (const Activation activation : kActivations) {
    for (const std::int64_t e : {1, 19}) {
      HeadSum heads(GetParam(), 3, e, DType::f32, activation);
      heads.forward();
      heads.backward();
      expect_gradients({.forward = [&] { heads.forward(); },
                        .outputs = {{heads.y, heads.dy}},
                        .inputs = {{"x", heads.fused, heads.dfused}}});
    }
  }
}

TEST_P(ReduceTest, Bf16AgreesWithF32) {
  for (const Activation activation : kActivations) {
    HeadSum narrow(GetParam(), 33, 24, DType::bf16, activation),
        wide(GetParam(), 33, 24, DType::f32, activation);
    for (HeadSum* heads : {&narrow, &wide}) heads->forward(), heads->backward();
    EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
    EXPECT_LT(relative_error(narrow.dfused, wide.dfused), rounding(DType::bf16));
  }
}

TEST_P(ReduceTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  Sum one(GetParam(), 300, 40, DType::f32), two(GetParam(), 300, 40, DType::f32);
  HeadSum first(GetParam(), 100, 40, DType::f32, Activation::silu),
      second(GetParam(), 100, 40, DType::f32, Activation::silu);
  set_num_threads(1);
  one.forward(), first.forward(), first.backward();
  set_num_threads(2);
  two.forward(), second.forward(), second.backward();
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.dparam, two.dparam));
  EXPECT_TRUE(same_bits(first.y, second.y));
  EXPECT_TRUE(same_bits(first.dfused, second.dfused));
}

TEST(Reduce, RejectsWrongOperands) {
  Sum sum(Isa::avx2, 4, 16, DType::f32);
  sum.dparam = sum.memory.empty({15});
  EXPECT_THROW(sum.forward(), Error);
  HeadSum heads(Isa::avx2, 4, 16, DType::f32, Activation::sigmoid);
  heads.y = heads.y.slice(3, 0, 1);
  EXPECT_THROW(heads.forward(), Error);
  heads.dx = {};
  EXPECT_THROW(heads.backward(), Error);
}

}  // namespace
}  // namespace hg::test
