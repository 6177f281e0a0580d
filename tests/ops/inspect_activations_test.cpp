#include "ops/inspect_activations.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/op_checks.h"

namespace hg::test {
namespace {

/// The op on a matrix.
struct Measured {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Magnitudes op{};

  Measured(Isa isa, const ConstTensor& x) : ctx(cpu_context(isa)) {
    op = {.out = memory.empty({Magnitudes::kStatistics}), .x = x};
    run(*ctx, op);
  }
  float operator[](Magnitudes::Statistic which) const { return op.out.as<float>()[which]; }

  void expect_definition() const {
    const ConstTensor& x = op.x;
    double max = -1, token = NAN, channel = NAN, sum = 0, squares = 0, below2 = 0, below3 = 0,
           n = 0;
    for (std::int64_t t = 0; t < x.dim(0); ++t) {
      for (std::int64_t c = 0; c < x.dim(1); ++c) {
        const double magnitude = std::abs(double{x.as<float>()[t * x.stride(0) + c]});
        if (!std::isfinite(magnitude)) continue;
        if (magnitude > max) {
          max = magnitude, token = static_cast<double>(t), channel = static_cast<double>(c);
        }
        ++n, sum += magnitude, squares += magnitude * magnitude;
        below2 += magnitude < double{1e-2F}, below3 += magnitude < double{1e-3F};
      }
    }
    if (n == 0) max = NAN;
    const std::array<double, Magnitudes::kStatistics> expected{max,
                                                               token,
                                                               channel,
                                                               sum / n,
                                                               std::sqrt(squares / n),
                                                               below2 / n,
                                                               below3 / n,
                                                               static_cast<double>(x.numel()) - n};
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expect_measured((*this)[static_cast<Magnitudes::Statistic>(i)], expected[i],
                      fmt::format("statistic {} of {}", i, x.shape().to_string()));
    }
  }
};

class MagnitudesTest : public testing::TestWithParam<Isa> {
 protected:
  Tensors memory;
};
INSTANTIATE_TEST_SUITE_P(Isas, MagnitudesTest, testing::ValuesIn(isas()));

TEST_P(MagnitudesTest, FollowsTheDefinition) {
  for (const Shape& shape :
       {Shape{1, 1}, Shape{3, 17}, Shape{64, 16}, Shape{65, 40}, Shape{300, 33}, Shape{5, 3000}}) {
    Measured(GetParam(), memory.normal("x", shape)).expect_definition();
    Measured(GetParam(), memory.normal("x", shape, DType::f32, 5e-3F)).expect_definition();
  }
}

TEST_P(MagnitudesTest, RowsMayLieApart) {
  const Tensor wide = memory.normal("wide", {150, 70});
  Measured(GetParam(), wide.slice(1, 3, 46)).expect_definition();
}

TEST_P(MagnitudesTest, TheFirstOfEqualsIsTheLargest) {
  const Tensor x = memory.zeros({200, 30});
  for (const std::int64_t i : {199 * 30 + 2, 70 * 30 + 29, 70 * 30 + 11, 130 * 30}) set(x, i, -8);
  const Measured measured(GetParam(), x);
  EXPECT_EQ(measured[Magnitudes::kMax], 8);
  EXPECT_EQ(measured[Magnitudes::kToken], 70);
  EXPECT_EQ(measured[Magnitudes::kChannel], 11);
  const Measured nothing(GetParam(), memory.zeros({3, 5}));
  EXPECT_EQ(nothing[Magnitudes::kMax], 0);
  EXPECT_EQ(nothing[Magnitudes::kToken], 0);
  EXPECT_EQ(nothing[Magnitudes::kShareBelow1e3], 1);
}

TEST_P(MagnitudesTest, MassiveActivationsNeitherOverflowNorDrownTheRest) {
  const Tensor x = memory.normal("x", {100, 64});
  set(x, 77, 1e30F);
  Measured(GetParam(), x).expect_definition();
}

TEST_P(MagnitudesTest, LeavesOutWhatIsNotFinite) {
  const Tensor x = memory.normal("x", {70, 19});
  for (const std::int64_t i : {0, 18, 500, 1329}) set(x, i, i % 4 == 0 ? NAN : -INFINITY);
  const Measured some(GetParam(), x);
  some.expect_definition();
  EXPECT_EQ(some[Magnitudes::kNonFinite], 4);
  const Measured none(GetParam(), memory.empty({2, 9}));  // NaN everywhere
  none.expect_definition();
  EXPECT_EQ(none[Magnitudes::kNonFinite], 18);
}

TEST_P(MagnitudesTest, Bf16IsTheSameValuesInF32) {
  const Tensor narrow = memory.normal("x", {90, 41}, DType::bf16);
  const Measured a(GetParam(), narrow), b(GetParam(), memory.copy(narrow, DType::f32));
  EXPECT_TRUE(same_bits(a.op.out, b.op.out));
}

TEST_P(MagnitudesTest, SameBitsForAnyThreadCount) {
  const Tensor x = memory.normal("x", {700, 50});
  std::vector<std::unique_ptr<Measured>> kept;
  expect_same_bits_for_any_thread_count([&] {
    kept.push_back(std::make_unique<Measured>(GetParam(), x));
    return std::vector{kept.back()->op.out};
  });
}

TEST_P(MagnitudesTest, RunsInTheScratchThatAMetaRunMeasures) {
  expect_measured_scratch_suffices(Measured(GetParam(), memory.normal("x", {200, 8})).op,
                                   GetParam());
}

/// Magnitudes of a matrix from those of equal parts along `axis`, and of the whole.
void expect_joined(Isa isa, const Tensor& x, int axis, std::int64_t parts) {
  Tensors memory;
  const std::int64_t length = x.dim(axis) / parts;
  const Tensor seen = memory.empty({parts, Magnitudes::kStatistics});
  const auto ctx = cpu_context(isa);
  for (std::int64_t i = 0; i < parts; ++i) {
    run(*ctx, Magnitudes{.out = seen.rows(i, i + 1).view({Magnitudes::kStatistics}),
                         .x = x.slice(axis, i * length, (i + 1) * length)});
  }
  const Tensor joined = memory.empty({Magnitudes::kStatistics});
  run(*ctx, JoinMagnitudes{.out = joined,
                           .parts = seen,
                           .elements = x.numel() / parts,
                           .tokens = axis == 0 ? length : 0,
                           .channels = axis == 1 ? length : 0});
  const Measured whole(isa, x);
  for (int i = 0; i < Magnitudes::kStatistics; ++i) {
    const auto expected = double{whole[static_cast<Magnitudes::Statistic>(i)]};
    const std::string what = fmt::format("statistic {} of {} parts along {}", i, parts, axis);
    expect_measured(get(joined, i), expected, what);
    const bool counts = i == Magnitudes::kToken || i == Magnitudes::kChannel;
    if (counts && !std::isnan(expected)) {
      EXPECT_EQ(get(joined, i), expected) << what;
      EXPECT_FALSE(std::signbit(get(joined, i))) << what;
    }
  }
}

TEST_P(MagnitudesTest, PartsMakeTheWhole) {
  const auto expect = [&](const Tensor& x) {
    for (const int axis : {0, 1}) {
      for (const std::int64_t parts : {1, 2, 4}) expect_joined(GetParam(), x, axis, parts);
    }
  };
  expect(memory.normal("x", {12, 20}));
  expect(memory.normal("small", {12, 20}, DType::f32, 5e-3F));
  const Tensor equals = memory.zeros({12, 20});
  expect(equals);
  for (const std::int64_t i : {11 * 20 + 1, 4 * 20 + 19, 4 * 20 + 7, 6 * 20}) set(equals, i, -8);
  expect(equals);
  const Tensor holes = memory.normal("holes", {12, 20});
  for (std::int64_t i = 0; i < holes.numel(); ++i) {  // the last quarter along either axis
    if (i % 20 >= 15 || i / 20 >= 9 || i == 3) set(holes, i, i % 2 == 0 ? NAN : INFINITY);
  }
  expect(holes);
  expect(memory.empty({12, 20}));  // NaN everywhere
}

TEST(Magnitudes, RefusesPartsAlongBothAxes) {
  Tensors memory;
  const auto ctx = cpu_context(Isa::avx2);
  const Tensor parts = memory.zeros({2, Magnitudes::kStatistics});
  const JoinMagnitudes op{.out = memory.empty({Magnitudes::kStatistics}),
                          .parts = parts,
                          .elements = 6,
                          .tokens = 2,
                          .channels = 3};
  EXPECT_THROW(run(*ctx, op), Error);
}

TEST(Magnitudes, RejectsWrongOperands) {
  Tensors memory;
  Measured measured(Isa::avx2, memory.normal("x", {4, 8}));
  Magnitudes op = measured.op;
  op.out = memory.empty({7});
  EXPECT_THROW(run(*measured.ctx, op), Error);
  op = measured.op;
  op.x = memory.zeros({4, 2, 4});
  EXPECT_THROW(run(*measured.ctx, op), Error);
  op.x = memory.integers({1, 2, 3, 4}).view({2, 2});
  EXPECT_THROW(run(*measured.ctx, op), Error);
}

}  // namespace
}  // namespace hg::test
