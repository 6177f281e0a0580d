#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr float kLimit = 0.8F;

/// Matrices that lie in wider ones, `gap` elements between their rows.
struct Elementwise {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor x, y, base, dy, dx;

  Elementwise(Isa isa, std::int64_t rows, std::int64_t columns, DType dtype, std::int64_t gap = 0)
      : ctx(cpu_context(isa)) {
    const auto cut = [&](const Tensor& wide) { return wide.slice(1, gap, gap + columns); };
    const auto normal = [&](const char* name) {
      return cut(memory.normal(name, {rows, columns + gap}, dtype));
    };
    x = normal("x");
    y = normal("y");
    base = normal("base");
    dy = normal("dy");
    dx = cut(memory.zeros({rows, columns + gap}, dtype));
  }
  float at(const ConstTensor& tensor, std::int64_t t, std::int64_t i) const {
    return get(tensor.rows(t, t + 1).slice(1, i, i + 1), 0);
  }
  void add() { run(*ctx, Add{.y = y, .x = x}); }
  void clip() { run(*ctx, ClipForward{.y = y, .x = x, .limit = kLimit}); }
  void clip_backward(const ConstTensor& values) {
    run(*ctx, ClipBackward{.dx = dx, .dy = dy, .y = values, .limit = kLimit});
  }
};

class ElementwiseTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, ElementwiseTest, testing::ValuesIn(isas()));

TEST_P(ElementwiseTest, AddsElementByElement) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t gap : {0, 3}) {
      Elementwise before(GetParam(), 20, 37, dtype, gap), onto(GetParam(), 20, 37, dtype, gap),
          apart(GetParam(), 20, 37, dtype, gap);
      onto.add();
      run(*apart.ctx, Add{.y = apart.y, .x = apart.x, .base = apart.base});
      for (std::int64_t t = 0; t < 20; ++t) {
        for (std::int64_t i = 0; i < 37; ++i) {
          const auto rounded = [&](float sum) {
            return dtype == DType::f32 ? sum : static_cast<float>(bf16(sum));
          };
          const float x = before.at(before.x, t, i);
          EXPECT_EQ(onto.at(onto.y, t, i), rounded(before.at(before.y, t, i) + x));
          EXPECT_EQ(apart.at(apart.y, t, i), rounded(before.at(before.base, t, i) + x));
        }
      }
    }
  }
}

TEST_P(ElementwiseTest, ClipHoldsValuesInsideTheLimit) {
  Elementwise a(GetParam(), 5, 19, DType::f32);
  a.clip();
  int clipped = 0;
  for (std::int64_t i = 0; i < a.x.numel(); ++i) {
    EXPECT_EQ(get(a.y, i), std::clamp(get(a.x, i), -kLimit, kLimit));
    clipped += std::abs(get(a.x, i)) > kLimit;
  }
  EXPECT_GT(clipped, 10);
}

TEST_P(ElementwiseTest, ClipBackwardAgreesWithFiniteDifferences) {
  Elementwise a(GetParam(), 3, 21, DType::f32);
  for (std::int64_t i = 0; i < a.x.numel(); ++i) {  // differences must not reach over the limit
    if (std::abs(std::abs(get(a.x, i)) - kLimit) < 0.05F) set(a.x, i, 0.5F);
  }
  a.clip();
  a.clip_backward(a.y);
  expect_gradients(
      {.forward = [&] { a.clip(); }, .outputs = {{a.y, a.dy}}, .inputs = {{"x", a.x, a.dx}}});
}

TEST_P(ElementwiseTest, ClipBackwardTakesValuesBeforeOrBehindTheClip) {
  for (const DType dtype : {DType::f32, DType::bf16}) {  // 0.8 is no bf16
    Elementwise before(GetParam(), 6, 40, dtype), behind(GetParam(), 6, 40, dtype);
    before.clip_backward(before.x);
    behind.clip();
    behind.clip_backward(behind.y);
    EXPECT_TRUE(same_bits(before.dx, behind.dx));
    for (std::int64_t i = 0; i < before.x.numel(); ++i) {
      const float inside = std::abs(get(before.x, i)) < kLimit ? get(before.dy, i) : 0;
      EXPECT_EQ(get(before.dx, i), inside) << get(before.x, i);
    }
  }
}

TEST_P(ElementwiseTest, ClipKeepsNaN) {
  Elementwise a(GetParam(), 1, 20, DType::f32);
  set(a.x, 3, NAN);
  set(a.x, 4, INFINITY);
  a.clip();
  EXPECT_TRUE(std::isnan(get(a.y, 3)));
  EXPECT_EQ(get(a.y, 4), kLimit);
}

TEST_P(ElementwiseTest, WorksInPlace) {
  Elementwise apart(GetParam(), 9, 33, DType::f32, 2), in_place(GetParam(), 9, 33, DType::f32, 2);
  apart.clip();
  apart.clip_backward(apart.y);
  run(*in_place.ctx,
      ClipBackward{.dx = in_place.dy, .dy = in_place.dy, .y = in_place.x, .limit = kLimit});
  run(*in_place.ctx, ClipForward{.y = in_place.x, .x = in_place.x, .limit = kLimit});
  for (std::int64_t t = 0; t < 9; ++t) {
    for (std::int64_t i = 0; i < 33; ++i) {
      EXPECT_EQ(in_place.at(in_place.x, t, i), apart.at(apart.y, t, i));
      EXPECT_EQ(in_place.at(in_place.dy, t, i), apart.at(apart.dx, t, i));
    }
  }
}

TEST_P(ElementwiseTest, ZeroWritesZerosAndNothingBeyond) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32}) {
    for (const std::int64_t rows : {1, 3, 5000}) {  // one task or several
      Elementwise a(GetParam(), 1, 1, DType::f32);
      const Tensor around = a.memory.empty({rows + 2, 13}, dtype);
      run(*a.ctx, Zero{.y = around.rows(1, rows + 1)});
      const auto bytes = std::span(static_cast<const unsigned char*>(around.data()),
                                   static_cast<std::size_t>(around.bytes()));
      const auto row = static_cast<std::size_t>(around.bytes() / (rows + 2));
      const auto not_zero = [](unsigned char byte) { return byte != 0; };
      EXPECT_EQ(std::ranges::count_if(bytes.subspan(row, bytes.size() - 2 * row), not_zero), 0);
      EXPECT_TRUE(same_bits(around.rows(0, 1), a.memory.empty({1, 13}, dtype)));
      EXPECT_TRUE(same_bits(around.rows(rows + 1, rows + 2), a.memory.empty({1, 13}, dtype)));
    }
  }
}

TEST_P(ElementwiseTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  Elementwise one(GetParam(), 100, 24, DType::f32), two(GetParam(), 100, 24, DType::f32);
  for (Elementwise* a : {&one, &two}) {
    set_num_threads(a == &one ? 1 : 2);
    a->clip();
    a->clip_backward(a->y);
    a->add();
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.y, two.y));
  EXPECT_TRUE(same_bits(one.dx, two.dx));
}

TEST(Elementwise, RejectsWrongOperands) {
  Elementwise a(Isa::avx2, 4, 16, DType::f32);
  EXPECT_THROW(run(*a.ctx, Add{.y = a.y, .x = a.x.rows(0, 3)}), Error);
  EXPECT_THROW(run(*a.ctx, Add{.y = a.y, .x = a.x, .base = a.base.slice(1, 0, 8)}), Error);
  EXPECT_THROW(run(*a.ctx, Zero{.y = a.y.slice(1, 0, 8)}), Error);
  EXPECT_THROW(run(*a.ctx, ClipForward{.y = a.y, .x = a.x, .limit = 0}), Error);
  EXPECT_THROW(run(*a.ctx, ClipBackward{.dx = a.dx, .dy = a.dy, .y = {}, .limit = 1}), Error);
}

}  // namespace
}  // namespace hg::test
