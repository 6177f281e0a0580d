#include "ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr float kEps = 1e-6F;
constexpr std::int64_t kKv = 2, kG = 3, kPositions = 40;

struct Case {
  std::int64_t tokens, d, half;
  bool norm;
};

/// Query heads in a fused projection buffer [T, W], whose rows also hold other things.
struct Rope {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor fused, dfused, x, dx, y, dy, rstd, weight, dweight, cos, sin, positions;

  Rope(Isa isa, const Case& c, DType dtype) : ctx(cpu_context(isa)) {
    const std::int64_t width = (kG + 2) * c.d;
    fused = memory.normal("fused", {c.tokens, kKv * width}, dtype);
    dfused = memory.zeros({c.tokens, kKv * width}, dtype);
    x = heads(fused, c);
    dx = heads(dfused, c);
    y = memory.empty({c.tokens, kKv, kG, c.d}, dtype);
    dy = memory.normal("dy", {c.tokens, kKv, kG, c.d}, dtype);
    cos = memory.empty({kPositions, c.half});
    sin = memory.empty({kPositions, c.half});
    fill_rope_table(cos, sin, 10000);
    std::vector<std::int32_t> values;
    for (std::int64_t t = 0; t < c.tokens; ++t)
      values.push_back(static_cast<int>(t * 7 % kPositions));
    positions = memory.integers(values);
    if (!c.norm) return;
    rstd = memory.empty({c.tokens, kKv, kG});
    weight = memory.normal("weight", {c.d}, dtype, 0.2F, 1);
    dweight = memory.empty({c.d});
  }
  static Tensor heads(const Tensor& buffer, const Case& c) {
    const Tensor groups = buffer.split(1, kKv, (kG + 2) * c.d);
    return groups.slice(2, c.d, (kG + 1) * c.d).split(2, kG, c.d);
  }
  void forward() {
    run(*ctx, HeadNormRopeForward{.y = y,
                                  .rstd = rstd,
                                  .x = x,
                                  .weight = weight,
                                  .cos = cos,
                                  .sin = sin,
                                  .positions = positions,
                                  .eps = kEps});
  }
  void backward(bool accumulate = false) {
    run(*ctx, HeadNormRopeBackward{.dx = dx,
                                   .dweight = dweight,
                                   .dy = dy,
                                   .x = x,
                                   .rstd = rstd,
                                   .weight = weight,
                                   .cos = cos,
                                   .sin = sin,
                                   .positions = positions,
                                   .accumulate = accumulate});
  }
};

/// The formula of the header in f64, angles and all, for head (t, j, g).
std::vector<double> reference(const Rope& rope, const Case& c, std::int64_t t, std::int64_t j,
                              std::int64_t g) {
  const Tensor head = rope.x.slice(0, t, t + 1).slice(1, j, j + 1).slice(2, g, g + 1);
  std::vector<double> u(static_cast<std::size_t>(c.d));
  double squares = 0;
  for (std::size_t i = 0; i < u.size(); ++i) {
    u[i] = double{get(head, static_cast<std::int64_t>(i))};
    squares += u[i] * u[i];
  }
  const double rstd = 1 / std::sqrt(squares / static_cast<double>(c.d) + double{kEps});
  for (std::size_t i = 0; c.norm && i < u.size(); ++i) {
    u[i] *= rstd * double{get(rope.weight, static_cast<std::int64_t>(i))};
  }
  const auto half = static_cast<std::size_t>(c.half);
  std::vector<double> y = u;
  for (std::size_t i = 0; i < half; ++i) {
    const double frequency =
        std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(2 * half));
    const double angle = static_cast<double>(rope.positions.as<std::int32_t>()[t]) * frequency;
    y[i] = u[i] * std::cos(angle) - u[i + half] * std::sin(angle);
    y[i + half] = u[i + half] * std::cos(angle) + u[i] * std::sin(angle);
  }
  return y;
}

class RopeTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, RopeTest, testing::ValuesIn(isas()));

TEST_P(RopeTest, ForwardAgreesWithTheFormulaInF64) {
  for (const Case& c : {Case{5, 64, 32, true}, Case{5, 64, 32, false}, Case{3, 48, 10, true},
                        Case{3, 21, 5, true}, Case{2, 16, 0, true}, Case{2, 256, 64, false}}) {
    Rope rope(GetParam(), c, DType::f32);
    rope.forward();
    const Tensor expected = rope.memory.empty(rope.y.shape());
    std::int64_t to = 0;
    for (std::int64_t t = 0; t < c.tokens; ++t) {
      for (std::int64_t j = 0; j < kKv; ++j) {
        for (std::int64_t g = 0; g < kG; ++g) {
          for (const double v : reference(rope, c, t, j, g))
            set(expected, to++, static_cast<float>(v));
        }
      }
    }
    EXPECT_LT(relative_error(rope.y, expected), rounding(DType::f32)) << c.d << " " << c.half;
  }
}

TEST_P(RopeTest, BackwardAgreesWithFiniteDifferences) {
  for (const Case& c :
       {Case{2, 16, 8, true}, Case{2, 19, 5, true}, Case{2, 16, 8, false}, Case{2, 20, 3, false}}) {
    Rope rope(GetParam(), c, DType::f32);
    rope.forward();
    rope.backward();
    std::vector<GradientCheck::Input> inputs{{"x", rope.fused, rope.dfused}};
    if (c.norm) inputs.push_back({"weight", rope.weight, rope.dweight});
    expect_gradients(
        {.forward = [&] { rope.forward(); }, .outputs = {{rope.y, rope.dy}}, .inputs = inputs});
  }
}

TEST_P(RopeTest, Bf16AgreesWithF32) {
  const Case c{70, 64, 32, true};
  Rope narrow(GetParam(), c, DType::bf16), wide(GetParam(), c, DType::f32);
  for (Rope* rope : {&narrow, &wide}) {
    rope->forward();
    rope->backward();
  }
  EXPECT_LT(relative_error(narrow.y, wide.y), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dfused, wide.dfused), rounding(DType::bf16));
  EXPECT_LT(relative_error(narrow.dweight, wide.dweight), rounding(DType::bf16));
}

TEST_P(RopeTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  const Case c{150, 32, 16, true};
  Rope one(GetParam(), c, DType::f32), two(GetParam(), c, DType::f32);
  set_num_threads(1);
  one.forward();
  one.backward();
  set_num_threads(2);
  two.forward();
  two.backward();
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.y, two.y));
  EXPECT_TRUE(same_bits(one.rstd, two.rstd));
  EXPECT_TRUE(same_bits(one.dfused, two.dfused));
  EXPECT_TRUE(same_bits(one.dweight, two.dweight));
}

TEST_P(RopeTest, AccumulateAddsToTheWeightGradient) {
  Rope rope(GetParam(), {70, 24, 12, true}, DType::f32);
  rope.forward();
  rope.backward();
  const Tensor doubled = rope.memory.copy(rope.dweight, DType::f32);
  for (std::int64_t i = 0; i < doubled.numel(); ++i) set(doubled, i, 2 * get(doubled, i));
  rope.backward(true);
  EXPECT_LT(relative_error(rope.dweight, doubled), kReordered);
}

TEST_P(RopeTest, RejectsPositionsOutsideTheTable) {
  Rope rope(GetParam(), {4, 16, 8, true}, DType::f32);
  for (const std::int32_t bad : {-1, static_cast<std::int32_t>(kPositions)}) {
    rope.positions.as<std::int32_t>()[2] = bad;
    EXPECT_THROW(rope.forward(), Error);
    EXPECT_THROW(rope.backward(), Error);
  }
}

TEST(Rope, RejectsWrongOperands) {
  const Case c{4, 16, 8, true};
  Rope narrow_table(Isa::avx2, c, DType::f32);
  narrow_table.cos = narrow_table.memory.zeros({kPositions, 9});  // turns 18 of 16 dimensions
  EXPECT_THROW(narrow_table.forward(), Error);
  Rope no_rstd(Isa::avx2, c, DType::f32);
  no_rstd.rstd = {};
  EXPECT_THROW(no_rstd.forward(), Error);
  Rope no_dweight(Isa::avx2, c, DType::f32);
  no_dweight.forward();
  no_dweight.dweight = {};
  EXPECT_THROW(no_dweight.backward(), Error);
  Rope sliced_y(Isa::avx2, c, DType::f32);
  sliced_y.y = sliced_y.dx;
  EXPECT_THROW(sliced_y.forward(), Error);
  EXPECT_THROW(Rope(Isa::avx2, {2, 257, 8, true}, DType::f32).forward(), Error);
}

TEST(Rope, MetaRunMeasuresTheScratchOfBackward) {
  Rope rope(Isa::avx2, {330, 16, 8, true}, DType::f32);
  Context meta;
  meta.device = Device::meta;
  run(meta, HeadNormRopeBackward{.dx = rope.dx,
                                 .dweight = rope.dweight,
                                 .dy = rope.dy,
                                 .x = rope.x,
                                 .rstd = rope.rstd,
                                 .weight = rope.weight,
                                 .cos = rope.cos,
                                 .sin = rope.sin,
                                 .positions = rope.positions,
                                 .accumulate = false});
  EXPECT_EQ(meta.scratch.high_water(),
            768U);  // 11 pieces of 32 tokens, 64 bytes each, in steps of 256
}

}  // namespace
}  // namespace hg::test
