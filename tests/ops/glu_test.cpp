#include "ops/glu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/op_checks.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

struct SwiGlu {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor x, y, dy, dx, weights, dweights;

  SwiGlu(Isa isa, std::int64_t tokens, std::int64_t f, DType dtype, bool weighted = false)
      : ctx(cpu_context(isa)) {
    x = memory.normal("x", {tokens, 2 * f}, dtype, 2);
    dy = memory.normal("dy", {tokens, f}, dtype);
    y = memory.empty({tokens, f}, dtype);
    dx = memory.empty({tokens, 2 * f}, dtype);
    if (!weighted) return;
    weights = memory.normal("weights", {tokens});
    dweights = memory.empty({tokens});
  }
  void forward() { run(*ctx, SwiGluForward{.y = y, .x = x, .weights = weights}); }
  void backward() {
    run(*ctx, SwiGluBackward{.dx = dx, .dweights = dweights, .dy = dy, .x = x, .weights = weights});
  }
};

class SwiGluTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, SwiGluTest, testing::ValuesIn(isas()));

TEST_P(SwiGluTest, AgreesWithTheFormulaInF64) {
  constexpr std::int64_t kTokens = 17, kF = 45;
  for (const bool weighted : {false, true}) {
    SwiGlu glu(GetParam(), kTokens, kF, DType::f32, weighted);
    glu.forward();
    glu.backward();
    const Tensor y = glu.memory.empty(glu.y.shape()), dx = glu.memory.empty(glu.dx.shape());
    for (std::int64_t t = 0; t < kTokens; ++t) {
      const double weight = weighted ? double{get(glu.weights, t)} : 1;
      double dweight = 0;
      for (std::int64_t i = t * kF; i < (t + 1) * kF; ++i) {
        const std::int64_t gate = i + t * kF, up = gate + kF;
        const double a = get(glu.x, gate), b = get(glu.x, up), dy = get(glu.dy, i);
        const double s = 1 / (1 + std::exp(-a));
        set(y, i, static_cast<float>(weight * a * s * b));
        set(dx, gate, static_cast<float>(weight * dy * b * s * (1 + a * (1 - s))));
        set(dx, up, static_cast<float>(weight * dy * a * s));
        dweight += dy * a * s * b;
      }
      if (weighted) expect_measured(get(glu.dweights, t), dweight, "dweight");
    }
    EXPECT_LT(relative_error(glu.y, y), rounding(DType::f32));
    EXPECT_LT(relative_error(glu.dx, dx), rounding(DType::f32));
  }
}

TEST_P(SwiGluTest, BackwardAgreesWithFiniteDifferences) {
  for (const std::int64_t f : {16, 21}) {
    for (const bool weighted : {false, true}) {
      SwiGlu glu(GetParam(), 3, f, DType::f32, weighted);
      glu.forward();
      glu.backward();
      GradientCheck check{.forward = [&] { glu.forward(); },
                          .outputs = {{glu.y, glu.dy}},
                          .inputs = {{"x", glu.x, glu.dx}}};
      if (weighted) check.inputs.push_back({"weights", glu.weights, glu.dweights});
      expect_gradients(check);
    }
  }
}

TEST_P(SwiGluTest, WeightsOfOneChangeNothing) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    SwiGlu with(GetParam(), 9, 37, dtype, true), without(GetParam(), 9, 37, dtype);
    for (std::int64_t t = 0; t < 9; ++t) set(with.weights, t, 1);
    for (SwiGlu* glu : {&with, &without}) glu->forward(), glu->backward();
    EXPECT_TRUE(same_bits(with.y, without.y));
    EXPECT_TRUE(same_bits(with.dx, without.dx));
  }
}

TEST_P(SwiGluTest, RowsOfNobodySpoilNoOther) {
  SwiGlu glu(GetParam(), 12, 21, DType::f32, true), all(GetParam(), 12, 21, DType::f32, true);
  for (std::int64_t t = 8; t < 12; ++t) {
    set(glu.weights, t, NAN);
    for (std::int64_t i = t * 21; i < (t + 1) * 21; ++i) set(glu.dy, i, NAN);
    for (std::int64_t i = t * 42; i < (t + 1) * 42; ++i) set(glu.x, i, INFINITY);
  }
  for (SwiGlu* each : {&glu, &all}) each->forward(), each->backward();
  EXPECT_TRUE(same_bits(glu.y.rows(0, 8), all.y.rows(0, 8)));
  EXPECT_TRUE(same_bits(glu.dx.rows(0, 8), all.dx.rows(0, 8)));
  EXPECT_TRUE(same_bits(glu.dweights.rows(0, 8), all.dweights.rows(0, 8)));
}

TEST_P(SwiGluTest, RowsBehindThoseInUseAreLeftAsTheyAre) {
  SwiGlu glu(GetParam(), 12, 21, DType::f32, true), all(GetParam(), 12, 21, DType::f32, true);
  all.forward(), all.backward();
  const Tensor used = glu.memory.integers({8});
  for (const Tensor& tensor : {glu.y, glu.dx, glu.dweights})
    for (std::int64_t i = 0; i < tensor.numel(); ++i) set(tensor, i, 7);
  run(*glu.ctx, SwiGluForward{.y = glu.y, .x = glu.x, .weights = glu.weights, .used = used});
  run(*glu.ctx, SwiGluBackward{.dx = glu.dx,
                               .dweights = glu.dweights,
                               .dy = glu.dy,
                               .x = glu.x,
                               .weights = glu.weights,
                               .used = used});
  for (const auto& [some, whole] : {std::pair{glu.y, all.y}, {glu.dx, all.dx}}) {
    EXPECT_TRUE(same_bits(some.rows(0, 8), whole.rows(0, 8)));
    for (std::int64_t i = 8 * some.dim(1); i < some.numel(); ++i) ASSERT_EQ(get(some, i), 7);
  }
  EXPECT_TRUE(same_bits(glu.dweights.rows(0, 8), all.dweights.rows(0, 8)));
  EXPECT_EQ(get(glu.dweights, 8), 7);
}

TEST_P(SwiGluTest, Bf16AgreesWithF32) {
  SwiGlu narrow(GetParam(), 20, 72, DType::bf16, true), wide(GetParam(), 20, 72, DType::f32, true);
  for (SwiGlu* glu : {&narrow, &wide}) glu->forward(), glu->backward();
  EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dx, wide.dx), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dweights, wide.dweights), rounding(DType::bf16));
}

TEST_P(SwiGluTest, SameBitsForAnyThreadCount) {
  std::vector<std::shared_ptr<SwiGlu>> runs;
  expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
    const auto& glu =
        runs.emplace_back(std::make_shared<SwiGlu>(GetParam(), 100, 40, DType::f32, true));
    glu->forward();
    glu->backward();
    return {glu->y, glu->dx, glu->dweights};
  });
}

TEST(SwiGluOp, RejectsWrongOperands) {
  SwiGlu glu(Isa::avx2, 4, 16, DType::f32, true);
  glu.dweights = {};
  EXPECT_THAT(error_of([&] { glu.backward(); }),
              testing::HasSubstr("weights come without their gradient"));
  glu.dweights = glu.memory.empty({4});
  glu.weights = glu.memory.normal("weights", {5});
  EXPECT_THROW(glu.forward(), Error);
  EXPECT_THROW(glu.backward(), Error);
  glu.weights = {};
  EXPECT_THAT(error_of([&] { glu.backward(); }), testing::HasSubstr("weights are absent"));
  glu.dweights = {};
  glu.x = glu.memory.normal("x", {4, 31});
  EXPECT_THROW(glu.forward(), Error);
  EXPECT_THROW(glu.backward(), Error);
}

}  // namespace
}  // namespace hg::test
