#include "ops/sink.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cached_attention.h"
#include "support/attention.h"
#include "support/compare.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr Dims kDims{.kv = 2, .g = 3, .d = 16};

/// Attention with a sink for each head behind it.
struct WithSinks : Attention {
  Tensor sinks, dsinks;

  WithSinks(Isa isa, DType dtype, const std::vector<std::int32_t>& lengths, Dims shape = kDims)
      : Attention({"vectors", isa, {}}, dtype, shape, lengths) {
    sinks = memory.normal("sinks", {shape.kv, shape.g}, dtype, 1, 1);
    dsinks = memory.empty(sinks.shape());
  }
  void forward() {
    Attention::forward();
    run(*ctx, SinkForward{.o = o, .lse = lse, .sinks = sinks});
  }
  void backward(bool accumulate = false) {
    run(*ctx, SinkBackward{.dsinks = dsinks,
                           .d_o = d_o,
                           .o = o,
                           .lse = lse,
                           .sinks = sinks,
                           .accumulate = accumulate});
    Attention::backward();
  }
};

class SinkTest : public testing::TestWithParam<Isa> {};
INSTANTIATE_TEST_SUITE_P(Isas, SinkTest, testing::ValuesIn(isas()));

/// o and lse of attention with sinks, from those without, in double.
void add_sinks(const Reference& reference, const Tensor& sinks, std::int64_t tokens) {
  const std::int64_t heads = reference.lse.numel() / tokens, d = reference.o.dim(3);
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      const double lse = double{get(reference.lse, head * tokens + t)};
      const double sum = std::exp(lse) + (sinks ? std::exp(double{get(sinks, head)}) : 1);
      set(reference.lse, head * tokens + t, static_cast<float>(std::log(sum)));
      for (std::int64_t i = (t * heads + head) * d; i < (t * heads + head + 1) * d; ++i)
        set(reference.o, i, static_cast<float>(double{get(reference.o, i)} * std::exp(lse) / sum));
    }
  }
}

TEST_P(SinkTest, FollowsTheDefinition) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool learned : {true, false}) {
      WithSinks a(GetParam(), dtype, {37, 1, 90});
      if (!learned) a.sinks = {};
      a.forward();
      const Reference expected(a);
      add_sinks(expected, a.sinks, a.t);
      EXPECT_LT(relative_error(a.o, expected.o), rounding(dtype));
      EXPECT_LT(relative_error(a.lse, expected.lse), kReordered);
    }
  }
}

TEST_P(SinkTest, BackwardAgreesWithFiniteDifferencesThroughAttention) {
  const int before = num_threads();
  set_num_threads(1);
  WithSinks a(GetParam(), DType::f32, {5, 1, 7}, {.kv = 2, .g = 2, .d = 8});
  a.v = a.memory.normal("v", a.k.shape());  // contiguous, to be nudged element by element
  a.dv = a.memory.empty(a.k.shape());
  a.forward();
  a.backward();
  expect_gradients(
      {.forward = [&] { a.forward(); },
       .outputs = {{a.o, a.d_o}},
       .inputs = {
           {"q", a.q, a.dq}, {"k", a.k, a.dk}, {"v", a.v, a.dv}, {"sinks", a.sinks, a.dsinks}}});
  set_num_threads(before);
}

TEST_P(SinkTest, Bf16AgreesWithF32) {
  WithSinks narrow(GetParam(), DType::bf16, {130}), wide(GetParam(), DType::f32, {130});
  for (WithSinks* a : {&narrow, &wide}) a->forward(), a->backward();
  EXPECT_LT(relative_error(narrow.o, wide.o), rounding(DType::bf16));
  // do . o' is a difference of products, each of which is rounded.
  EXPECT_LT(relative_error(narrow.dsinks, wide.dsinks), 2 * rounding(DType::bf16));
}

TEST_P(SinkTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  WithSinks one(GetParam(), DType::f32, {150, 60}), two(GetParam(), DType::f32, {150, 60});
  for (WithSinks* a : {&one, &two}) {
    set_num_threads(a == &one ? 1 : 2);
    a->forward();
    a->backward();
  }
  set_num_threads(before);
  EXPECT_TRUE(same_bits(one.o, two.o));
  EXPECT_TRUE(same_bits(one.lse, two.lse));
  EXPECT_TRUE(same_bits(one.dsinks, two.dsinks));
}

TEST_P(SinkTest, AccumulateAddsToTheGradient) {
  WithSinks once(GetParam(), DType::f32, {70}), twice(GetParam(), DType::f32, {70});
  for (WithSinks* a : {&once, &twice}) a->forward(), a->backward();
  twice.backward(true);
  for (std::int64_t i = 0; i < once.dsinks.numel(); ++i)
    set(once.dsinks, i, 2 * get(once.dsinks, i));
  EXPECT_LT(relative_error(twice.dsinks, once.dsinks), kReordered);
}

TEST_P(SinkTest, ExtremeSinksTakeNothingOrEverything) {
  for (const float sink : {-1e4F, 1e4F}) {
    WithSinks a(GetParam(), DType::f32, {9}), plain(GetParam(), DType::f32, {9});
    for (std::int64_t i = 0; i < a.sinks.numel(); ++i) set(a.sinks, i, sink);
    a.forward();
    a.backward();
    plain.Attention::forward();
    plain.Attention::backward();
    for (std::int64_t i = 0; i < a.o.numel(); ++i) {
      EXPECT_EQ(get(a.o, i), sink < 0 ? get(plain.o, i) : 0);
      EXPECT_NEAR(get(a.dq, i), sink < 0 ? get(plain.dq, i) : 0, 1e-30);
    }
    for (std::int64_t i = 0; i < a.dsinks.numel(); ++i) EXPECT_EQ(get(a.dsinks, i), 0);
  }
}

TEST_P(SinkTest, RunsInTheScratchThatAMetaRunMeasures) {
  WithSinks a(GetParam(), DType::f32, {131});
  a.forward();
  const SinkBackward op{.dsinks = a.dsinks,
                        .d_o = a.d_o,
                        .o = a.o,
                        .lse = a.lse,
                        .sinks = a.sinks,
                        .accumulate = false};
  Context meta, tight;
  meta.device = Device::meta;
  run(meta, op);
  tight.cpu.isa = GetParam();
  tight.scratch.reserve(meta.scratch.high_water());
  EXPECT_NO_THROW(run(tight, op));
  EXPECT_EQ(tight.scratch.used(), 0U);
}

TEST_P(SinkTest, CachedAttentionHasTheSameSinks) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool learned : {true, false}) {
      WithSinks a(GetParam(), dtype, {50});
      if (!learned) a.sinks = {};
      a.forward();
      constexpr std::int64_t kNew = 4;
      const Tensor q = a.q.rows(a.t - kNew, a.t), o = a.memory.empty(q.shape(), dtype);
      run(*a.ctx, CachedAttention{.o = o,
                                  .q = q,
                                  .k = a.k,
                                  .v = a.dense(a.wide),
                                  .scale = a.scale,
                                  .sink = true,
                                  .sinks = a.sinks});
      // Both are rounded once, from f32 sums in other orders.
      EXPECT_LT(relative_error(o, a.o.rows(a.t - kNew, a.t)),
                dtype == DType::bf16 ? rounding(dtype) : kReordered);
    }
  }
}

TEST(Sink, RejectsWrongOperands) {
  WithSinks a(Isa::avx2, DType::f32, {4});
  a.sinks = a.memory.normal("sinks", {6});
  EXPECT_THROW(a.forward(), Error);
  a.sinks = {};
  EXPECT_THROW(a.backward(), Error);
  EXPECT_THROW(run(*a.ctx, CachedAttention{.o = a.o,
                                           .q = a.q,
                                           .k = a.k,
                                           .v = a.dense(a.wide),
                                           .scale = 1,
                                           .sink = false,
                                           .sinks = a.memory.normal("sinks", {2, 3})}),
               Error);
}

}  // namespace
}  // namespace hg::test
