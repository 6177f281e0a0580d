#include "ops/glu.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

struct SwiGlu {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor x, y, dy, dx;

  SwiGlu(Isa isa, std::int64_t tokens, std::int64_t f, DType dtype) : ctx(cpu_context(isa)) {
    x = memory.normal("x", {tokens, 2 * f}, dtype, 2);
    dy = memory.normal("dy", {tokens, f}, dtype);
    y = memory.empty({tokens, f}, dtype);
    dx = memory.empty({tokens, 2 * f}, dtype);
  }
  void forward() { run(*ctx, SwiGluForward{.y = y, .x = x}); }
  void backward() { run(*ctx, SwiGluBackward{.dx = dx, .dy = dy, .x = x}); }
};

class SwiGluTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, SwiGluTest, testing::ValuesIn(isas()));

TEST_P(SwiGluTest, ForwardAgreesWithTheFormulaInF64) {
  constexpr std::int64_t kTokens = 17, kF = 45;
  SwiGlu glu(GetParam(), kTokens, kF, DType::f32);
  glu.forward();
  const Tensor expected = glu.memory.empty(glu.y.shape());
  for (std::int64_t i = 0; i < expected.numel(); ++i) {
    const std::int64_t gate = i / kF * 2 * kF + i % kF;
    const double a = get(glu.x, gate), up = get(glu.x, gate + kF);
    set(expected, i, static_cast<float>(a / (1 + std::exp(-a)) * up));
  }
  EXPECT_LT(relative_error(glu.y, expected), rounding(DType::f32));
}

TEST_P(SwiGluTest, BackwardAgreesWithFiniteDifferences) {
  for (const std::int64_t f : {16, 21}) {
    SwiGlu glu(GetParam(), 3, f, DType::f32);
    glu.forward();
    glu.backward();
    expect_gradients({.forward = [&] { glu.forward(); },
                      .outputs = {{glu.y, glu.dy}},
                      .inputs = {{"x", glu.x, glu.dx}}});
  }
}

TEST_P(SwiGluTest, Bf16AgreesWithF32) {
  SwiGlu narrow(GetParam(), 20, 72, DType::bf16), wide(GetParam(), 20, 72, DType::f32);
  for (SwiGlu* glu : {&narrow, &wide}) {
    glu->forward();
    glu->backward();
  }
  EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dx, wide.dx), rounding(DType::bf16));
}

TEST_P(SwiGluTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  SwiGlu one(GetParam(), 100, 40, DType::f32), two(GetParam(), 100, 40, DType::f32);
  set_num_threads(1);
  one.forward();
  one.backward();
  set_num_threads(2);
  two.forward();
  two.backward();
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.y, two.y));
  EXPECT_TRUE(same_bits(one.dx, two.dx));
}

TEST(SwiGluOp, RejectsAWrongShape) {
  SwiGlu glu(Isa::avx2, 4, 16, DType::f32);
  glu.x = glu.memory.normal("x", {4, 31});
  EXPECT_THROW(glu.forward(), Error);
  EXPECT_THROW(glu.backward(), Error);
}

}  // namespace
}  // namespace hg::test
