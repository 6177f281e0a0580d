#include "ops/attention.h"

#include <gtest/gtest.h>

#include "support/attention.h"
#include "support/compare.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// Sums over up to 300 keys of products whose factors, weights among them, were rounded to `dtype`;
/// dS is a difference, which adds the rounding of o to its own.
constexpr double gradient_rounding(DType dtype) { return dtype == DType::bf16 ? 1.2e-2 : 3e-6; }

/// Scores near 1000 are exact to 1e-7 of that, and so are the exponents of the weights.
constexpr double large_scores_rounding(DType dtype) { return dtype == DType::bf16 ? 8e-3 : 1e-4; }

void expect_definition(Attention& a) {
  SCOPED_TRACE(fmt::format("{} T={} KV={} G={} D={}", name_of(a.q.dtype()), a.t, a.dims.kv,
                           a.dims.g, a.dims.d));
  a.forward();
  a.backward();
  const Reference expected(a);
  const DType dtype = a.q.dtype();
  EXPECT_LT(relative_error(a.o, expected.o), rounding(dtype));
  EXPECT_LT(relative_error(a.lse, expected.lse), kReordered);  // f32 in either
  EXPECT_LT(relative_error(a.dq, expected.dq), gradient_rounding(dtype));
  EXPECT_LT(relative_error(a.dk, expected.dk), gradient_rounding(dtype));
  EXPECT_LT(relative_error(a.dense(a.dwide), expected.dv), gradient_rounding(dtype));
}

class AttentionTest : public testing::TestWithParam<Engine> {};
INSTANTIATE_TEST_SUITE_P(Engines, AttentionTest, testing::ValuesIn(Engine::all()),
                         [](const auto& engine) { return engine.param.name; });

TEST_P(AttentionTest, FollowsTheDefinitionForEveryHeadSizeAndGroup) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const std::int64_t d : GetParam().head_sizes()) {
      for (const std::int64_t g : {1, 2, 4}) {
        Attention a(GetParam(), dtype, {.kv = 2, .g = g, .d = d}, {1, 37, 5});
        expect_definition(a);
      }
    }
  }
}

TEST_P(AttentionTest, FollowsTheDefinitionAcrossBlocks) {
  std::vector<std::int32_t> many(60, 1);  // of one token, around one that sees more than itself
  many[30] = 90;
  const std::vector<std::vector<std::int32_t>> packings{
      {300}, {64, 64, 128}, {63, 65, 1, 127, 129}, {2, 1, 200, 0, 1, 17, 1}, many};
  for (const DType dtype : GetParam().dtypes()) {
    for (const auto& lengths : packings) {
      Attention a(GetParam(), dtype, {.kv = 1, .g = 2, .d = 32}, lengths);
      expect_definition(a);
    }
  }
}

TEST_P(AttentionTest, BackwardAgreesWithFiniteDifferences) {
  if (GetParam().tiles) return;  // bf16 is too coarse to nudge
  const int before = num_threads();
  set_num_threads(1);
  Attention a(GetParam(), DType::f32, {.kv = 1, .g = 2, .d = 8}, {5, 1, 7});
  a.v = a.memory.normal("v", a.k.shape());  // contiguous, to be nudged element by element
  a.dv = a.memory.empty(a.k.shape());
  a.forward();
  a.backward();
  expect_gradients({.forward = [&] { a.forward(); },
                    .outputs = {{a.o, a.d_o}},
                    .inputs = {{"q", a.q, a.dq}, {"k", a.k, a.dk}, {"v", a.v, a.dv}}});
  set_num_threads(before);
}

TEST_P(AttentionTest, SameBitsForAnyThreadCount) {
  const int before = num_threads();
  // One long document is cut into passes of its own where threads outnumber the groups; many are
  // not.
  for (const std::vector<std::int32_t>& lengths :
       {std::vector{700}, std::vector{90, 1, 300, 2, 80, 79}}) {
    for (const DType dtype : GetParam().dtypes()) {
      const Dims dims{.kv = 1, .g = 2, .d = 32};
      set_num_threads(1);
      Attention one(GetParam(), dtype, dims, lengths);
      one.forward();
      one.backward();
      for (const int threads : {2, 5}) {
        set_num_threads(threads);
        Attention many(GetParam(), dtype, dims, lengths);
        many.forward();
        many.backward();
        EXPECT_TRUE(same_bits(one.o, many.o));
        EXPECT_TRUE(same_bits(one.lse, many.lse));
        EXPECT_TRUE(same_bits(one.dq, many.dq));
        EXPECT_TRUE(same_bits(one.dk, many.dk));
        EXPECT_TRUE(same_bits(one.dense(one.dwide), many.dense(many.dwide)));
      }
    }
  }
  set_num_threads(before);
}

TEST_P(AttentionTest, DocumentsDoNotSeeEachOther) {
  for (const DType dtype : GetParam().dtypes()) {
    const Dims dims{.kv = 1, .g = 1, .d = 32};
    Attention clean(GetParam(), dtype, dims, {20, 9, 70}),
        spoilt(GetParam(), dtype, dims, {20, 9, 70});
    for (const Tensor& x : {spoilt.q, spoilt.k, spoilt.d_o}) {
      for (std::int64_t i = 20 * 32; i < 29 * 32; ++i) set(x, i, NAN);  // the whole second document
    }
    for (std::int64_t i = 20 * 32; i < 29 * 32; ++i) set(spoilt.wide, spoilt.wide_index(i), NAN);
    for (Attention* a : {&clean, &spoilt}) a->forward(), a->backward();
    const auto expect_same = [](const Tensor& x, const Tensor& y) {
      EXPECT_TRUE(same_bits(x.rows(0, 20), y.rows(0, 20)));
      EXPECT_TRUE(same_bits(x.rows(29, 99), y.rows(29, 99)));
      EXPECT_TRUE(std::isnan(get(y, 25 * 32)));
    };
    expect_same(clean.o, spoilt.o);
    expect_same(clean.dq, spoilt.dq);
    expect_same(clean.dk, spoilt.dk);
    expect_same(clean.dense(clean.dwide), spoilt.dense(spoilt.dwide));
  }
}

TEST_P(AttentionTest, WritesNothingBesideItsSlice) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 2, .g = 1, .d = 32}, {50, 33});
    for (std::int64_t i = 0; i < a.dwide.numel(); ++i) set(a.dwide, i, 7);
    a.forward();
    a.backward();
    for (std::int64_t i = 0; i < a.dwide.numel(); ++i) {
      const std::int64_t column = i % a.dwide.dim(1);
      if (column < 3 || column >= 3 + 2 * 32) {
        ASSERT_EQ(get(a.dwide, i), 7) << "element " << i;
      }
    }
  }
}

TEST_P(AttentionTest, RunsInTheScratchThatAMetaRunMeasures) {
  for (const std::int64_t d : GetParam().head_sizes()) {
    Attention a(GetParam(), DType::bf16, {.kv = 2, .g = 2, .d = d}, {130, 30});
    for (const bool backward : {false, true}) {
      Context meta;
      meta.device = Device::meta;
      backward ? run(meta, a.backward_op()) : run(meta, a.forward_op());
      a.ctx = std::make_unique<Context>();
      a.ctx->cpu.isa = GetParam().isa;
      a.ctx->scratch.reserve(meta.scratch.high_water());
      EXPECT_NO_THROW(backward ? a.backward() : a.forward());
      EXPECT_EQ(a.ctx->scratch.used(), 0U);
    }
  }
}

TEST_P(AttentionTest, LargeScoresDoNotOverflow) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 1, .g = 1, .d = 32}, {150});
    for (std::int64_t i = 0; i < a.q.numel(); ++i) set(a.q, i, 50 * get(a.q, i));
    a.forward();
    const Reference expected(a);
    EXPECT_LT(relative_error(a.lse, expected.lse), kReordered);
    EXPECT_LT(relative_error(a.o, expected.o), large_scores_rounding(dtype));
  }
}

TEST(Attention, RejectsWrongOperands) {
  const Engine vectors{"", Isa::avx2, {}};
  Attention a(vectors, DType::f32, {.kv = 1, .g = 1, .d = 8}, {4, 3});
  a.documents = a.memory.integers({0, 4, 6});
  EXPECT_THROW(a.forward(), Error);
  a.documents = a.memory.integers({0, 5, 4, 7});
  EXPECT_THROW(a.backward(), Error);
  a.documents = a.memory.integers({0, 7});
  a.scale = 0;
  EXPECT_THROW(a.forward(), Error);
  a.scale = 1;
  a.k = a.memory.normal("k", {7, 1, 1, 16});
  EXPECT_THROW(a.forward(), Error);
}

}  // namespace
}  // namespace hg::test
