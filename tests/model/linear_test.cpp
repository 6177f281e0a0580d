#include "model/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// A linear layer in bf16.
struct Layer {
  Tensors memory;
  std::unique_ptr<Context> ctx = cpu_context(Isa::avx2);
  Tensor x, weight, dy, y, dx, dweight;

  explicit Layer(Fp8 fp8, std::int64_t t = 144, std::int64_t k = 272, std::int64_t n = 160) {
    ctx->fp8 = fp8;
    x = memory.normal("x", {t, k}, DType::bf16);
    weight = memory.normal("weight", {n, k}, DType::bf16, 0.02F);
    dy = memory.normal("dy", {t, n}, DType::bf16, 1e-5F);
    y = memory.empty({t, n}, DType::bf16);
    dx = memory.empty({t, k}, DType::bf16);
    dweight = memory.empty({n, k});
  }
  void run(bool accumulate = false) {
    run_linear(*ctx, LinearForward{.y = y, .x = x, .weight = weight});
    run_linear(*ctx, LinearBackward{.dx = dx,
                                    .dweight = dweight,
                                    .dy = dy,
                                    .x = x,
                                    .weight = weight,
                                    .accumulate = accumulate});
  }
};

TEST(RunLinear, WithoutFp8ItIsTheOpsThemselves) {
  Layer layer(Fp8::off), ops(Fp8::off);
  layer.run();
  Context& ctx = *ops.ctx;
  hg::run(ctx, LinearForward{.y = ops.y, .x = ops.x, .weight = ops.weight});
  hg::run(ctx, LinearBackwardInput{.dx = ops.dx, .dy = ops.dy, .weight = ops.weight});
  hg::run(ctx, LinearBackwardWeight{
                   .dweight = ops.dweight, .dy = ops.dy, .x = ops.x, .accumulate = false});
  EXPECT_TRUE(same_bits(layer.y, ops.y));
  EXPECT_TRUE(same_bits(layer.dx, ops.dx));
  EXPECT_TRUE(same_bits(layer.dweight, ops.dweight));
}

TEST(RunLinear, InFp8ItAgreesWithBf16) {
  Layer exact(Fp8::off);
  exact.run();
  for (const Fp8 fp8 : {Fp8::tensor, Fp8::block}) {
    Layer layer(fp8);
    layer.run();
    for (const auto& [mine, theirs, limit] : {std::tuple{layer.y, exact.y, kFp8Values},
                                              {layer.dx, exact.dx, kFp8Gradients},
                                              {layer.dweight, exact.dweight, kFp8Gradients}}) {
      const double error = relative_error(mine, theirs);
      EXPECT_LT(error, limit);
      EXPECT_GT(error, limit / 10) << "as if nothing had been rounded to FP8";
    }
  }
}

// A row of values a hundred thousand times larger than the others takes their bits where all share
// a scale.
TEST(RunLinear, BlocksKeepWhatAnOutlierTakesFromATensor) {
  const auto error = [](Fp8 fp8) {
    Layer exact(Fp8::off), layer(fp8);
    for (Layer* its : {&exact, &layer}) {
      for (std::int64_t i = 0; i < its->x.dim(1); ++i) set(its->x, i, 3e5F);
      its->run();
    }
    return relative_error(layer.y.rows(1, 144), exact.y.rows(1, 144));
  };
  EXPECT_LT(error(Fp8::block), kFp8Values);
  EXPECT_GT(error(Fp8::tensor), 3 * kFp8Values);
}

TEST(RunLinear, InFp8AccumulateAddsToTheWeightGradient) {
  for (const Fp8 fp8 : {Fp8::tensor, Fp8::block}) {
    Layer once(fp8), twice(fp8);
    once.run();
    twice.run();
    twice.run(true);
    for (std::int64_t i = 0; i < once.dweight.numel(); ++i)
      set(once.dweight, i, 2 * get(once.dweight, i));
    EXPECT_LT(relative_error(twice.dweight, once.dweight), kReordered);
  }
}

TEST(RunLinear, AMetaRunMeasuresTheScratch) {
  for (const Fp8 fp8 : {Fp8::off, Fp8::tensor, Fp8::block}) {
    Layer real(fp8), meta(fp8);
    meta.ctx->device = Device::meta;
    for (const bool accumulate : {false, true}) {
      real.run(accumulate);
      meta.run(accumulate);
    }
    EXPECT_EQ(meta.ctx->scratch.high_water(), real.ctx->scratch.high_water());
    EXPECT_EQ(real.ctx->scratch.used(), 0U);
  }
}

TEST(RunLinear, ExtentsThatFp8DoesNotTakeAreRefused) {
  for (const auto& [t, k, n] :
       {std::array<std::int64_t, 3>{8, 16, 32}, {16, 24, 32}, {16, 32, 40}}) {
    Layer layer(Fp8::tensor, t, k, n);
    try {
      layer.run();
      FAIL() << t << " " << k << " " << n;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("training.fp8: a linear layer of"));
      EXPECT_THAT(error.what(), testing::HasSubstr("multiples of 16"));
    }
  }
}

}  // namespace
}  // namespace hg::test
