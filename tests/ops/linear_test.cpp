#include "ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// Extents of y = x W^T.
struct Sizes {
  std::int64_t t, k, n;
};

/// One linear layer in one element type.
struct Layer {
  Tensors memory;
  std::unique_ptr<Context> ctx;
  Tensor x, weight, dy, y, dx, dweight;

  Layer(Isa isa, Sizes s, DType dtype) : ctx(cpu_context(isa)) {
    x = memory.normal("x", {s.t, s.k}, dtype);
    weight = memory.normal("weight", {s.n, s.k}, dtype);
    dy = memory.normal("dy", {s.t, s.n}, dtype);
    y = memory.empty({s.t, s.n}, dtype);
    dx = memory.empty({s.t, s.k}, dtype);
    dweight = memory.empty({s.n, s.k});
  }
  void forward() { hg::run(*ctx, LinearForward{.y = y, .x = x, .weight = weight}); }
  void backward(bool accumulate = false) {
    hg::run(*ctx, LinearBackwardInput{.dx = dx, .dy = dy, .weight = weight});
    hg::run(*ctx,
            LinearBackwardWeight{.dweight = dweight, .dy = dy, .x = x, .accumulate = accumulate});
  }
  void run() {
    forward();
    backward();
  }
  /// The same product in double, rounded to f32.
  Tensor reference_y() {
    const Tensor result = memory.empty(y.shape());
    fill(result, x.dim(1), [&](std::int64_t t, std::int64_t n, std::int64_t k) {
      return double{get(x, t * x.dim(1) + k)} * double{get(weight, n * x.dim(1) + k)};
    });
    return result;
  }
  Tensor reference_dx() {
    const Tensor result = memory.empty(dx.shape());
    fill(result, dy.dim(1), [&](std::int64_t t, std::int64_t k, std::int64_t n) {
      return double{get(dy, t * dy.dim(1) + n)} * double{get(weight, n * dx.dim(1) + k)};
    });
    return result;
  }
  Tensor reference_dweight() {
    const Tensor result = memory.empty(dweight.shape());
    fill(result, dy.dim(0), [&](std::int64_t n, std::int64_t k, std::int64_t t) {
      return double{get(dy, t * dy.dim(1) + n)} * double{get(x, t * dx.dim(1) + k)};
    });
    return result;
  }

 private:
  template <class Term>
  static void fill(const Tensor& result, std::int64_t terms, Term&& term) {
    for (std::int64_t i = 0; i < result.dim(0); ++i) {
      for (std::int64_t j = 0; j < result.dim(1); ++j) {
        double sum = 0;
        for (std::int64_t l = 0; l < terms; ++l) sum += term(i, j, l);
        set(result, i * result.dim(1) + j, static_cast<float>(sum));
      }
    }
  }
};

/// Shapes on both sides of every cut: one piece, odd remainders, several slabs of tokens.
const Sizes kSizes[] = {{1, 1, 1}, {5, 16, 8}, {300, 37, 53}, {1100, 64, 40}, {520, 24, 300}};

class LinearTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, LinearTest, testing::ValuesIn(isas()));

void expect_product(Layer& layer, DType dtype) {
  layer.run();
  // f32 sums in another order; bf16 results are rounded once, weight gradients not at all.
  const double limit = dtype == DType::f32 ? kReordered : rounding(dtype);
  EXPECT_LT(relative_error(layer.y, layer.reference_y()), limit);
  EXPECT_LT(relative_error(layer.dx, layer.reference_dx()), limit);
  EXPECT_LT(relative_error(layer.dweight, layer.reference_dweight()), kReordered);
}

TEST_P(LinearTest, AgreesWithDoublePrecision) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Sizes& sizes : kSizes) {
      SCOPED_TRACE(testing::Message()
                   << name_of(dtype) << " " << sizes.t << " " << sizes.k << " " << sizes.n);
      Layer layer(GetParam(), sizes, dtype);
      expect_product(layer, dtype);
    }
  }
}

TEST_P(LinearTest, NativeBf16AgreesWithDoublePrecision) {
  if (!detect_cpu().avx512_bf16) GTEST_SKIP() << "no bf16 instructions here";
  for (const Sizes& sizes : kSizes) {
    SCOPED_TRACE(testing::Message() << sizes.t << " " << sizes.k << " " << sizes.n);
    Layer layer(GetParam(), sizes, DType::bf16);
    layer.ctx->cpu.amx_bf16 = true;  // takes the same way with whatever bf16 oneDNN has
    expect_product(layer, DType::bf16);
  }
}

TEST_P(LinearTest, BackwardAgreesWithFiniteDifferences) {
  Layer layer(GetParam(), {6, 9, 7}, DType::f32);
  layer.run();
  expect_gradients({.forward = [&] { layer.forward(); },
                    .outputs = {{layer.y, layer.dy}},
                    .inputs = {{"x", layer.x, layer.dx}, {"weight", layer.weight, layer.dweight}}});
}

TEST_P(LinearTest, SameBitsForAnyThreadCount) {
  struct Case {
    Sizes sizes;
    DType dtype;
    bool native_bf16;
  };
  const bool bf16_here = detect_cpu().avx512_bf16;
  const int before = num_threads();
  for (const auto& [sizes, dtype, native] :
       {Case{{700, 96, 130}, DType::f32, false}, Case{{2100, 64, 64}, DType::f32, false},
        Case{{520, 1030, 4120}, DType::f32, false}, Case{{700, 96, 130}, DType::bf16, false},
        Case{{2100, 64, 64}, DType::bf16, bf16_here}}) {
    Layer one(GetParam(), sizes, dtype), many(GetParam(), sizes, dtype);
    one.ctx->cpu.amx_bf16 = many.ctx->cpu.amx_bf16 = native;
    set_num_threads(1);
    one.run();
    for (const int threads : {2, 3, 5}) {
      set_num_threads(threads);
      many.run();
      EXPECT_TRUE(same_bits(one.y, many.y)) << threads;
      EXPECT_TRUE(same_bits(one.dx, many.dx)) << threads;
      EXPECT_TRUE(same_bits(one.dweight, many.dweight)) << threads;
    }
  }
  set_num_threads(before);
}

TEST_P(LinearTest, AccumulateAddsToTheWeightGradient) {
  for (const Sizes& sizes : kSizes) {
    Layer once(GetParam(), sizes, DType::f32), twice(GetParam(), sizes, DType::f32);
    once.backward();
    twice.backward();
    twice.backward(true);
    for (std::int64_t i = 0; i < once.dweight.numel(); ++i) {
      set(once.dweight, i, 2 * get(once.dweight, i));
    }
    EXPECT_LT(relative_error(twice.dweight, once.dweight), kReordered);
  }
}

// Gradients so large that their rows are the pieces, with slabs of tokens one after the other.
TEST_P(LinearTest, LargeWeightGradientAgreesWithPartsOfIt) {
  constexpr std::int64_t kTokens = 513, kIn = 1030, kOut = 4120;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Layer whole(GetParam(), {kTokens, kIn, kOut}, dtype);
    whole.backward();
    Layer part(GetParam(), {kTokens, kIn, 20}, dtype);
    for (const std::int64_t begin : {std::int64_t{0}, std::int64_t{250}, kOut - 20}) {
      hg::run(*part.ctx, LinearBackwardWeight{.dweight = part.dweight,
                                              .dy = whole.dy.slice(1, begin, begin + 20),
                                              .x = whole.x,
                                              .accumulate = false});
      EXPECT_LT(relative_error(part.dweight, whole.dweight.rows(begin, begin + 20)), kReordered);
    }
  }
}

// Weights so large that they are copied in blocks of columns, and sums in chunks.
TEST_P(LinearTest, LargeBf16WeightAgreesWithPartsOfIt) {
  constexpr std::int64_t kTokens = 3, kIn = 150, kOut = 57000;
  Layer whole(GetParam(), {kTokens, kIn, kOut}, DType::bf16);
  whole.forward();
  whole.backward();
  EXPECT_LT(relative_error(whole.y, whole.reference_y()), rounding(DType::bf16));
  EXPECT_LT(relative_error(whole.dx, whole.reference_dx()), rounding(DType::bf16));
}

/// The same values with a gap behind every row.
Tensor with_gaps(Tensors& memory, const ConstTensor& tensor) {
  const std::int64_t rows = tensor.dim(0), columns = tensor.dim(1), pitch = columns + 7;
  const Tensor wide = memory.empty({rows, pitch}, tensor.dtype());
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    set(wide, i / columns * pitch + 3 + i % columns, get(tensor, i));
  }
  return wide.slice(1, 3, 3 + columns);
}

Tensor without_gaps(Tensors& memory, const Tensor& tensor) {
  const Tensor dense = memory.empty(tensor.shape(), tensor.dtype());
  for (std::int64_t row = 0; row < tensor.dim(0); ++row) {
    std::memcpy(dense.rows(row, row + 1).data(), tensor.rows(row, row + 1).data(),
                static_cast<std::size_t>(dense.rows(row, row + 1).bytes()));
  }
  return dense;
}

TEST_P(LinearTest, RowsMayLieApart) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Layer dense(GetParam(), {300, 40, 2500}, dtype), gaps(GetParam(), {300, 40, 2500}, dtype);
    for (Tensor* tensor : {&gaps.x, &gaps.weight, &gaps.dy, &gaps.y, &gaps.dx}) {
      *tensor = with_gaps(gaps.memory, *tensor);
    }
    dense.run();
    gaps.run();
    const double limit = dtype == DType::f32 ? kReordered : rounding(dtype);
    EXPECT_LT(relative_error(without_gaps(gaps.memory, gaps.y), dense.y), limit);
    EXPECT_LT(relative_error(without_gaps(gaps.memory, gaps.dx), dense.dx), limit);
    EXPECT_LT(relative_error(gaps.dweight, dense.dweight), kReordered);
    for (const auto& [tensor, name] : {std::pair{gaps.y, "y"}, std::pair{gaps.dx, "dx"}}) {
      const ConstTensor gap(
          static_cast<const char*>(tensor.data()) + tensor.dim(1) * size_of(dtype), dtype, {1});
      EXPECT_TRUE(std::isnan(get(gap, 0))) << name << " written beside its rows";
    }
  }
}

TEST_P(LinearTest, MetaRunCountsTheScratchThatARunTakes) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Layer layer(GetParam(), {1100, 64, 40}, dtype);
    const auto measure = [&](Context& ctx) {
      hg::run(ctx, LinearForward{.y = layer.y, .x = layer.x, .weight = layer.weight});
      hg::run(ctx, LinearBackwardInput{.dx = layer.dx, .dy = layer.dy, .weight = layer.weight});
      hg::run(ctx,
              LinearBackwardWeight{
                  .dweight = layer.dweight, .dy = layer.dy, .x = layer.x, .accumulate = false});
      return ctx.scratch.high_water();
    };
    Context meta;
    meta.device = Device::meta;
    meta.cpu = layer.ctx->cpu;
    EXPECT_EQ(measure(meta), measure(*layer.ctx));
    EXPECT_EQ(layer.ctx->scratch.used(), 0U);
  }
}

TEST(Linear, RejectsWrongOperands) {
  Layer layer(Isa::avx2, {4, 8, 6}, DType::f32);
  const Tensor good = layer.weight;
  layer.weight = layer.memory.normal("w", {6, 9});
  EXPECT_THROW(layer.forward(), Error);
  layer.weight = layer.memory.normal("w", {6, 8}, DType::bf16);
  EXPECT_THROW(layer.forward(), Error);
  layer.weight = Tensor(good.data(), DType::f32, {6, 8}, {1, 6});
  EXPECT_THROW(layer.forward(), Error);
  layer.weight = good;
  layer.x = layer.x.rows(0, 0);
  layer.y = layer.y.rows(0, 0);
  EXPECT_THROW(layer.forward(), Error);
}

}  // namespace
}  // namespace hg::test
