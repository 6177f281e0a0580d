#include "ops/grouped_linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/linear.h"
#include "support/compare.h"
#include "support/grouped_linear.h"
#include "support/op_checks.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

using Layer = GroupedLayer;
using Sizes = GroupedSizes;

/// Loads on both sides of every cut: no rows, one, filled pieces, exact ones, several; and widths
/// of one strip, odd strips and several.
std::vector<Sizes> sizes() {
  Counts few(128);
  for (std::size_t e = 0; e < few.size(); ++e) few[e] = static_cast<std::int32_t>(e * 7 % 11 % 6);
  return {{{1}, 1, 1, 0},
          {{5, 0, 3}, 16, 8},
          {{0, 17, 0, 0, 300, 64, 1, 0}, 37, 53},
          {{0, 0, 700, 0}, 24, 130},
          {{600, 16, 128, 257}, 40, 300, 0},
          {few, 20, 12, 900},
          {{0, 0}, 8, 8, 5}};
}

std::string described(const Sizes& s, DType dtype) {
  return fmt::format("{}: {} experts, {} rows, {} x {}", name_of(dtype), s.counts.size(),
                     std::accumulate(s.counts.begin(), s.counts.end(), 0), s.n, s.k);
}

class GroupedLinearTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, GroupedLinearTest, testing::ValuesIn(isas()));

void expect_products(Layer& layer, DType dtype) {
  layer.run();
  const GroupedReference reference(layer);
  // f32 sums in another order; bf16 results are rounded once, weight gradients not at all.
  const double limit = dtype == DType::f32 ? kReordered : rounding(dtype);
  EXPECT_LE(relative_error(layer.y.rows(0, layer.used()), reference.y), limit);
  EXPECT_LE(relative_error(layer.dx.rows(0, layer.used()), reference.dx), limit);
  EXPECT_LE(relative_error(layer.dweight, reference.dweight), kReordered);
  for (std::int64_t r = layer.used(); r < layer.rows; ++r) {
    for (std::int64_t i = 0; i < layer.y.dim(1); ++i) {
      ASSERT_TRUE(std::isnan(get(layer.y, r * layer.y.dim(1) + i))) << "y, row " << r;
    }
    for (std::int64_t i = 0; i < layer.dx.dim(1); ++i) {
      ASSERT_TRUE(std::isnan(get(layer.dx, r * layer.dx.dim(1) + i))) << "dx, row " << r;
    }
  }
}

TEST_P(GroupedLinearTest, AgreesWithDoublePrecisionAndLeavesOtherRowsAlone) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Sizes& s : sizes()) {
      SCOPED_TRACE(described(s, dtype));
      Layer layer(GetParam(), s, dtype);
      expect_products(layer, dtype);
    }
  }
}

TEST_P(GroupedLinearTest, NativeBf16AgreesWithDoublePrecision) {
  if (!detect_cpu().avx512_bf16) GTEST_SKIP() << "no bf16 instructions here";
  for (const Sizes& s : sizes()) {
    SCOPED_TRACE(described(s, DType::bf16));
    Layer layer(GetParam(), s, DType::bf16);
    layer.ctx->cpu.amx_bf16 = true;  // takes the same way with whatever bf16 oneDNN has
    expect_products(layer, DType::bf16);
  }
}

TEST_P(GroupedLinearTest, BackwardAgreesWithFiniteDifferences) {
  Layer layer(GetParam(), {{3, 0, 1}, 4, 3, 0}, DType::f32);
  layer.run();
  expect_gradients({.forward = [&] { layer.forward(); },
                    .outputs = {{layer.y, layer.dy}},
                    .inputs = {{"x", layer.x, layer.dx}, {"weight", layer.weight, layer.dweight}}});
}

TEST_P(GroupedLinearTest, OneExpertIsALinearLayer) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Layer layer(GetParam(), {{333}, 48, 80, 0}, dtype);
    layer.run();
    const Tensor weight = layer.weight.view({80, 48});
    const Tensor y = layer.memory.empty(layer.y.shape(), dtype);
    const Tensor dx = layer.memory.empty(layer.dx.shape(), dtype);
    const Tensor dweight = layer.memory.empty(weight.shape());
    hg::run(*layer.ctx, LinearForward{.y = y, .x = layer.x, .weight = weight});
    hg::run(*layer.ctx, LinearBackwardInput{.dx = dx, .dy = layer.dy, .weight = weight});
    hg::run(*layer.ctx, LinearBackwardWeight{
                            .dweight = dweight, .dy = layer.dy, .x = layer.x, .accumulate = false});
    const double limit = dtype == DType::f32 ? kReordered : rounding(dtype);
    EXPECT_LT(relative_error(layer.y, y), limit);
    EXPECT_LT(relative_error(layer.dx, dx), limit);
    EXPECT_LT(relative_error(layer.dweight.view({80, 48}), dweight), kReordered);
  }
}

// An expert's results are its own: its neighbours may have any rows, before and behind.
TEST_P(GroupedLinearTest, BitsDoNotDependOnOtherExperts) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Layer alone(GetParam(), {{0, 77, 0}, 48, 80, 400}, dtype);
    Layer among(GetParam(), {{130, 77, 201}, 48, 80, 69}, dtype);
    const auto part = [&](const Tensor& of_alone, const Tensor& of_among) {
      return std::pair{of_alone.rows(0, 77), of_among.rows(130, 207)};
    };
    for (const auto& [from, to] : {part(alone.x, among.x), part(alone.dy, among.dy)}) {
      std::memcpy(to.data(), from.data(), static_cast<std::size_t>(from.bytes()));
    }
    alone.run();
    among.run();
    for (const auto& [a, b] : {part(alone.y, among.y), part(alone.dx, among.dx)}) {
      EXPECT_TRUE(same_bits(a, b)) << name_of(dtype);
    }
    EXPECT_TRUE(same_bits(alone.dweight.rows(1, 2), among.dweight.rows(1, 2))) << name_of(dtype);
  }
}

TEST_P(GroupedLinearTest, SameBitsForAnyThreadCount) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Sizes& s : sizes()) {
      SCOPED_TRACE(described(s, dtype));
      Layer layer(GetParam(), s, dtype);
      expect_same_bits_for_any_thread_count([&]() -> std::vector<Tensor> {
        layer.run();
        return {layer.memory.copy(layer.y, DType::f32), layer.memory.copy(layer.dx, DType::f32),
                layer.memory.copy(layer.dweight, DType::f32)};
      });
    }
  }
}

TEST_P(GroupedLinearTest, AccumulateAddsToTheWeightGradient) {
  for (const Sizes& s : sizes()) {
    Layer once(GetParam(), s, DType::f32), twice(GetParam(), s, DType::f32);
    once.backward();
    twice.backward();
    twice.backward(true);
    for (std::int64_t i = 0; i < once.dweight.numel(); ++i) {
      set(once.dweight, i, 2 * get(once.dweight, i));
    }
    EXPECT_LE(relative_error(twice.dweight, once.dweight), kReordered);
  }
}

TEST_P(GroupedLinearTest, ExpertsWithoutRowsGetZerosUnlessAccumulating) {
  Layer layer(GetParam(), {{4, 0}, 5, 6}, DType::f32);
  layer.backward();
  const Tensor idle = layer.dweight.rows(1, 2);
  for (std::int64_t i = 0; i < idle.numel(); ++i) {
    EXPECT_EQ(get(idle, i), 0);
    set(idle, i, 7);
  }
  layer.backward(true);
  for (std::int64_t i = 0; i < idle.numel(); ++i) EXPECT_EQ(get(idle, i), 7);
}

// What a meta run measures holds for every load, however the rows fall.
TEST_P(GroupedLinearTest, MeasuredScratchSufficesForAnyLoad) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Counts& counts : {Counts{500, 0, 0}, Counts{0, 1, 499}, Counts{167, 166, 167}}) {
      const Layer layer(GetParam(), {counts, 40, 150}, dtype);
      expect_measured_scratch_suffices(layer.forward_op(), GetParam());
      expect_measured_scratch_suffices(layer.backward_input_op(), GetParam());
      expect_measured_scratch_suffices(layer.backward_weight_op(), GetParam());
    }
  }
}

/// The same values with a gap behind every row.
Tensor with_gaps(Tensors& memory, const ConstTensor& tensor) {
  const std::int64_t columns = tensor.dim(1), pitch = columns + 7;
  const Tensor wide = memory.empty({tensor.dim(0), pitch}, tensor.dtype());
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    set(wide, i / columns * pitch + 3 + i % columns, get(tensor, i));
  }
  return wide.slice(1, 3, 3 + columns);
}

TEST_P(GroupedLinearTest, RowsMayLieApart) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Sizes s{{300, 0, 31}, 40, 90};
    Layer dense(GetParam(), s, dtype), gaps(GetParam(), s, dtype);
    for (Tensor* tensor : {&gaps.x, &gaps.dy, &gaps.y, &gaps.dx}) {
      *tensor = with_gaps(gaps.memory, *tensor);
    }
    dense.run();
    gaps.run();
    for (const auto& [a, b] : {std::pair{dense.y, gaps.y}, std::pair{dense.dx, gaps.dx}}) {
      for (std::int64_t r = 0; r < dense.used(); ++r) {
        EXPECT_TRUE(same_bits(a.rows(r, r + 1), b.rows(r, r + 1))) << "row " << r;
      }
      const ConstTensor gap(static_cast<const char*>(b.data()) + b.dim(1) * size_of(dtype), dtype,
                            {1});
      EXPECT_TRUE(std::isnan(get(gap, 0))) << "written beside the rows";
    }
    EXPECT_TRUE(same_bits(dense.dweight, gaps.dweight));
  }
}

std::string error_of(Layer& layer) {
  try {
    layer.run();
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(GroupedLinear, RejectsOffsetsThatDoNotRiseWithinTheRows) {
  struct Case {
    Counts offsets;
    std::string message;
  };
  for (const auto& [offsets, message] :
       {Case{{1, 4, 6}, "grouped_linear_forward: offsets[0] is 1, expected 0"},
        Case{{0, 4, 3},
             "grouped_linear_forward: offsets[2] is 3, expected at least offsets[1] = 4 and at "
             "most the 9 rows"},
        Case{{0, 4, 10}, "offsets[2] is 10"}, Case{{0, -2, 6}, "offsets[1] is -2"}}) {
    Layer layer(Isa::avx2, {{4, 2}, 8, 6}, DType::f32);
    layer.offsets = layer.memory.integers(offsets);
    EXPECT_THAT(error_of(layer), testing::HasSubstr(message));
  }
}

TEST(GroupedLinear, RejectsWrongOperands) {
  Layer layer(Isa::avx2, {{4, 2}, 8, 6}, DType::f32);
  const Layer good(Isa::avx2, {{4, 2}, 8, 6}, DType::f32);
  const auto expect_error = [&](const std::string& message) {
    EXPECT_THAT(error_of(layer), testing::HasSubstr(message));
    layer.weight = good.weight, layer.offsets = good.offsets, layer.x = good.x, layer.y = good.y;
  };
  layer.weight = layer.memory.normal("w", {2, 6, 9});
  expect_error("operand 'x' is f32 [9, 8], expected f32 [9, 9]");
  layer.weight = layer.memory.normal("w", {2, 6, 8}, DType::bf16);
  expect_error("operand 'weight' is bf16 [2, 6, 8], expected f32 [2, 6, 8]");
  layer.weight = layer.memory.normal("w", {2, 6, 9}).slice(2, 0, 8);
  expect_error("operand 'weight' [2, 6, 8] is a slice");
  layer.weight = layer.memory.normal("w", {12, 8});
  expect_error("weight [12, 8] is not one for each expert");
  layer.offsets = layer.memory.integers({0, 4, 5, 6});
  expect_error("operand 'offsets' is i32 [4], expected i32 [3]");
  layer.x = layer.x.rows(0, 0), layer.y = layer.y.rows(0, 0);
  expect_error("is empty");
}

TEST(GroupedLinear, CostCountsAllRows) {
  const Layer layer(Isa::avx2, {{4, 2}, 8, 6, 4}, DType::f32);
  EXPECT_EQ(layer.forward_op().cost().flops, 2.0 * 10 * 8 * 6);
  EXPECT_EQ(layer.backward_input_op().cost().flops, 2.0 * 10 * 8 * 6);
  EXPECT_EQ(layer.backward_weight_op().cost().flops, 2.0 * 10 * 8 * 6);
}

}  // namespace
}  // namespace hg::test
