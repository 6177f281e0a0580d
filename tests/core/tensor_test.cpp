#include "core/tensor.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace hg {
namespace {

/// Values 0, 1, 2 ... in the given shape.
struct Counting {
  std::vector<float> values;
  Tensor tensor;

  explicit Counting(const Shape& shape) : values(static_cast<std::size_t>(shape.numel())) {
    std::iota(values.begin(), values.end(), 0.0F);
    tensor = {values.data(), DType::f32, shape};
  }
};

float first(const ConstTensor& tensor) { return tensor.as<float>()[0]; }

TEST(Shape, CountsSplitsAndPrints) {
  const Shape shape{6, 10};
  EXPECT_EQ(shape.rank(), 2);
  EXPECT_EQ(shape.numel(), 60);
  EXPECT_EQ(shape.to_string(), "[6, 10]");
  EXPECT_EQ(shape.split(1, 2, 5), (Shape{6, 2, 5}));
  EXPECT_EQ(shape.split(0, 3, 2), (Shape{3, 2, 10}));
  EXPECT_EQ(shape.with(0, 7), (Shape{7, 10}));
  EXPECT_NE(shape, (Shape{60}));
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_THROW(shape.split(1, 3, 3), Error);
  EXPECT_THROW((Shape{1, 1, 1, 4}.split(3, 2, 2)), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1}), Error);
}

TEST(Tensor, SlicesShareMemory) {
  const Counting counting({4, 6});
  const Tensor& t = counting.tensor;
  EXPECT_TRUE(t.contiguous());
  const Tensor rows = t.rows(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 6}));
  EXPECT_EQ(first(rows), 6);
  EXPECT_TRUE(rows.contiguous());
  const Tensor columns = t.slice(1, 2, 5);
  EXPECT_EQ(columns.shape(), (Shape{4, 3}));
  EXPECT_EQ(columns.stride(0), 6);
  EXPECT_EQ(first(columns), 2);
  EXPECT_EQ(first(columns.rows(3, 4)), 20);
  EXPECT_FALSE(columns.contiguous());
  EXPECT_TRUE(columns.rows(3, 4).contiguous());  // one row of a slice lies end to end
  EXPECT_EQ(t.rows(2, 2).numel(), 0);
  EXPECT_THROW(t.rows(3, 5), Error);
  EXPECT_THROW(t.slice(1, 3, 2), Error);
  EXPECT_THROW(t.slice(1, -1, 2), Error);
}

TEST(Tensor, SplitsASliceIntoHeads) {
  // Two groups of [q q | k], each head 2 wide, in a row of 12.
  const Counting counting({3, 12});
  const Tensor groups = counting.tensor.split(1, 2, 6);
  const Tensor q = groups.slice(2, 0, 4).split(2, 2, 2);
  EXPECT_EQ(q.shape(), (Shape{3, 2, 2, 2}));
  EXPECT_EQ(q.stride(0), 12);
  EXPECT_EQ(q.stride(1), 6);
  EXPECT_EQ(q.stride(2), 2);
  EXPECT_EQ(q.stride(3), 1);
  EXPECT_EQ(first(q.slice(0, 2, 3).slice(1, 1, 2).slice(2, 1, 2)), 2 * 12 + 6 + 2);
  EXPECT_EQ(first(groups.slice(2, 4, 6).rows(1, 2)), 16);
}

TEST(Tensor, ViewsOnlyWhatIsContiguous) {
  const Counting counting({4, 6});
  EXPECT_EQ(counting.tensor.view({2, 12}).stride(0), 12);
  EXPECT_THROW(counting.tensor.view({5, 5}), Error);
  EXPECT_THROW(counting.tensor.slice(1, 0, 2).view({8}), Error);
}

TEST(Tensor, ReadsOnlyItsOwnType) {
  const Counting counting({2});
  EXPECT_THROW(counting.tensor.as<bf16>(), Error);
  EXPECT_EQ(Tensor(nullptr, DType::bf16, {3, 5}).bytes(), 30);
  EXPECT_FALSE(Tensor{});
  static_assert(!std::is_convertible_v<ConstTensor, Tensor>, "an input is never an output");
}

TEST(CheckTensor, NamesTheOperandAndBothShapes) {
  const Counting counting({4, 6});
  const auto message = [](auto&& call) {
    try {
      call();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message([&] {
              check_tensor("op", "x", counting.tensor, {4, 6}, DType::f32);
            }),
            "no error");
  EXPECT_EQ(message([&] {
              check_tensor("op", "x", counting.tensor, {4, 7}, DType::bf16);
            }),
            "op: operand 'x' is f32 [4, 6], expected bf16 [4, 7]");
  EXPECT_EQ(message([&] { check_tensor("op", "x", {}, {4}, DType::f32); }),
            "op: operand 'x' is missing, expected f32 [4]");
  const Tensor columns = counting.tensor.slice(1, 0, 3);
  EXPECT_EQ(message([&] { check_slice("op", "x", columns, {4, 3}, DType::f32); }), "no error");
  EXPECT_EQ(message([&] {
              check_contiguous("op", "x", columns, {4, 3}, DType::f32);
            }),
            "op: operand 'x' [4, 3] is a slice, expected a contiguous tensor");
  const Tensor every_third = counting.tensor.split(1, 2, 3).slice(2, 0, 1).slice(2, 0, 1);
  EXPECT_EQ(message([&] {
              check_slice("op", "x", every_third, {4, 2, 1}, DType::f32);
            }),
            "no error");
  const Tensor transposed(counting.tensor.data(), DType::f32, {6, 4}, {1, 6});
  EXPECT_EQ(message([&] {
              check_slice("op", "x", transposed, {6, 4}, DType::f32);
            }),
            "op: the last axis of operand 'x' [6, 4] has stride 6, expected 1");
}

TEST(Tensor, ExpandRepeatsAxesOfOneElement) {
  float values[6] = {};
  const Tensor x(values, DType::f32, {3, 1, 2});
  const Tensor y = x.expand({3, 4, 2});
  EXPECT_EQ(y.shape(), (Shape{3, 4, 2}));
  EXPECT_EQ(y.stride(0), 2);
  EXPECT_EQ(y.stride(1), 0);
  EXPECT_EQ(y.stride(2), 1);
  EXPECT_THROW(x.expand({3, 4, 3}), Error);
  EXPECT_THROW(x.expand({3, 2}), Error);
}

}  // namespace
}  // namespace hg
