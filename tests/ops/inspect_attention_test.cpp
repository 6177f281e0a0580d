#include "ops/inspect_attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cpu/inspect_attention_tiles.h"
#include "support/attention.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

Tensor heads_by_two(Attention& a) { return a.memory.empty({a.dims.kv * a.dims.g, 2}); }

AttentionEntropy entropy_op(Attention& a) {
  return {.out = heads_by_two(a),
          .q = a.q,
          .k = a.k,
          .lse = a.lse,
          .documents = a.documents,
          .longest = a.t,
          .scale = a.scale};
}
Tensor entropy(Attention& a) {
  const AttentionEntropy op = entropy_op(a);
  a.run_op(op);
  return op.out;
}

FirstTokenShare share_op(Attention& a) {
  std::vector<std::int32_t> positions;
  for (const Place& place : places(a)) positions.push_back(static_cast<int>(place.position));
  return {.out = heads_by_two(a),
          .q = a.q,
          .k = a.k,
          .lse = a.lse,
          .documents = a.documents,
          .positions = a.memory.integers(positions),
          .scale = a.scale};
}
Tensor shares(Attention& a) {
  const FirstTokenShare op = share_op(a);
  run(*a.ctx, op);
  return op.out;
}

void expect_entropy(Attention& a) {
  SCOPED_TRACE(fmt::format("{} T={} G={} D={}", name_of(a.q.dtype()), a.t, a.dims.g, a.dims.d));
  a.forward();
  const Tensor out = entropy(a);
  const auto queries = places(a);
  for (std::int64_t head = 0; head < out.dim(0); ++head) {
    double sum = 0, largest = -INFINITY;
    for (std::int64_t t = 0; t < a.t; ++t) {
      for (std::int64_t s = queries[static_cast<std::size_t>(t)].first; s <= t; ++s) {
        const double x = score(a, t, head, s), log_p = x - lse(a, head, t);
        sum -= std::exp(log_p) * log_p;
        largest = std::max(largest, x);
      }
    }
    expect_measured(get(out, 2 * head), sum / static_cast<double>(a.t), "entropy");
    expect_measured(get(out, 2 * head + 1), largest, "largest score");
  }
}

void expect_shares(Attention& a) {
  SCOPED_TRACE(fmt::format("{} T={} G={} D={}", name_of(a.q.dtype()), a.t, a.dims.g, a.dims.d));
  a.forward();
  const Tensor out = shares(a);
  const auto queries = places(a);
  for (std::int64_t head = 0; head < out.dim(0); ++head) {
    double all = 0, late = 0, late_count = 0;
    for (std::int64_t t = 0; t < a.t; ++t) {
      const auto [first, position] = queries[static_cast<std::size_t>(t)];
      const double share = std::exp(score(a, t, head, first) - lse(a, head, t));
      all += share;
      if (position >= 64) late += share, ++late_count;
    }
    expect_measured(get(out, 2 * head), all / static_cast<double>(a.t), "share");
    expect_measured(get(out, 2 * head + 1), late / late_count, "share of later queries");
  }
}

const std::vector<std::vector<std::int32_t>> kPackings{
    {300}, {64, 64, 128}, {63, 65, 1, 127, 129}, {2, 1, 200, 0, 1, 17, 1}};

class AttentionEntropyTest : public testing::TestWithParam<Engine> {};
INSTANTIATE_TEST_SUITE_P(Engines, AttentionEntropyTest, testing::ValuesIn(Engine::all()),
                         [](const auto& engine) { return engine.param.name; });

TEST_P(AttentionEntropyTest, FollowsTheDefinition) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const std::int64_t d : GetParam().head_sizes()) {
      Attention a(GetParam(), dtype, {.kv = 2, .g = 2, .d = d}, {1, 37, 5});
      expect_entropy(a);
    }
    for (const auto& lengths : kPackings) {
      Attention a(GetParam(), dtype, {.kv = 1, .g = 2, .d = 32}, lengths);
      expect_entropy(a);
    }
  }
}

TEST_P(AttentionEntropyTest, AnEvenLookIsTheLogarithmOfTheKeys) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 1, .g = 1, .d = 32}, {100, 150});
    for (std::int64_t i = 0; i < a.q.numel(); ++i) set(a.q, i, 0);
    a.forward();
    double sum = 0;
    for (const Place& place : places(a)) sum += std::log1p(static_cast<double>(place.position));
    const Tensor out = entropy(a);
    expect_measured(get(out, 0), sum / 250, "entropy");
    EXPECT_EQ(get(out, 1), 0);
  }
}

TEST_P(AttentionEntropyTest, OnlyVisiblePairsCount) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 1, .g = 1, .d = 32}, {70, 33});
    // Scores fall from query to query and rise from key to key: all are negative, less than those
    // of the zeros that fill blocks up, and each query's best would be a later key.
    for (std::int64_t i = 0; i < a.q.numel(); ++i) {
      const auto t = static_cast<float>(i / 32);
      set(a.q, i, -1 - t / 64);
      set(a.k, i, 1 - t / 256);
    }
    expect_entropy(a);
    EXPECT_LT(get(entropy(a), 1), 0);
  }
}

TEST_P(AttentionEntropyTest, WhatIsNotFiniteShowsInItsHead) {
  for (const float value : {NAN, INFINITY}) {
    for (const DType dtype : GetParam().dtypes()) {
      const Dims dims{.kv = 1, .g = 2, .d = 32};
      Attention clean(GetParam(), dtype, dims, {80}), spoilt(GetParam(), dtype, dims, {80});
      set(spoilt.q, (70 * 2 + 1) * 32, value);  // head 1
      clean.forward();
      spoilt.forward();
      const Tensor expected = entropy(clean), out = entropy(spoilt);
      EXPECT_TRUE(same_bits(out.rows(0, 1), expected.rows(0, 1)));
      EXPECT_TRUE(std::isnan(get(out, 2)) && std::isnan(get(out, 3))) << get(out, 3);
    }
  }
}

TEST_P(AttentionEntropyTest, SameBitsForAnyThreadCount) {
  for (const DType dtype : GetParam().dtypes()) {
    Attention a(GetParam(), dtype, {.kv = 1, .g = 2, .d = 32}, {90, 1, 300, 2, 80, 79});
    a.forward();
    expect_same_bits_for_any_thread_count([&] { return std::vector{entropy(a)}; });
  }
}

TEST_P(AttentionEntropyTest, RunsInTheScratchThatAMetaRunMeasures) {
  for (const DType dtype : GetParam().dtypes()) {
    for (const std::int64_t d : GetParam().head_sizes()) {
      Attention a(GetParam(), dtype, {.kv = 2, .g = 2, .d = d}, {130, 30});
      a.forward();
      const AttentionEntropy op = entropy_op(a);
      Context meta;
      meta.device = Device::meta;
      run(meta, op);
      a.ctx = std::make_unique<Context>();
      a.ctx->cpu.isa = GetParam().isa;
      a.ctx->scratch.reserve(meta.scratch.high_water());
      EXPECT_NO_THROW(a.run_op(op));
      EXPECT_EQ(a.ctx->scratch.used(), 0U);
    }
  }
}

class FirstTokenShareTest : public testing::TestWithParam<Isa> {
 protected:
  const Engine engine{"", GetParam(), {}};
};
INSTANTIATE_TEST_SUITE_P(Isas, FirstTokenShareTest, testing::ValuesIn(isas()));

TEST_P(FirstTokenShareTest, FollowsTheDefinition) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t d : {8, 40, 64}) {
      Attention a(engine, dtype, {.kv = 2, .g = 2, .d = d}, {1, 37, 5});
      expect_shares(a);  // NaN for later queries: there are none
    }
    for (const auto& lengths : kPackings) {
      Attention a(engine, dtype, {.kv = 1, .g = 2, .d = 32}, lengths);
      expect_shares(a);
    }
  }
}

TEST_P(FirstTokenShareTest, ASinkTakesAll) {
  Attention a(engine, DType::f32, {.kv = 1, .g = 1, .d = 8}, {100, 80});
  for (std::int64_t i = 0; i < a.q.numel(); ++i) {
    set(a.q, i, 1);
    set(a.k, i, i / 8 == 0 || i / 8 == 100 ? 20 : 0);  // the first of each document
  }
  a.forward();
  const Tensor out = shares(a);
  EXPECT_NEAR(get(out, 0), 1, kMeasured);
  EXPECT_NEAR(get(out, 1), 1, kMeasured);
}

TEST_P(FirstTokenShareTest, NaNShowsInItsHead) {
  Attention a(engine, DType::f32, {.kv = 1, .g = 2, .d = 16}, {80});
  a.forward();
  set(a.q, (20 * 2 + 1) * 16 + 3, NAN);  // head 1, an early query
  const Tensor out = shares(a);
  EXPECT_TRUE(std::isfinite(get(out, 0)) && std::isfinite(get(out, 1)));
  EXPECT_TRUE(std::isnan(get(out, 2)));
  EXPECT_TRUE(std::isfinite(get(out, 3)));
}

TEST_P(FirstTokenShareTest, ReadsSlices) {
  Attention a(engine, DType::f32, {.kv = 2, .g = 1, .d = 19}, {70, 8});
  a.forward();
  FirstTokenShare op = share_op(a);
  const Tensor wide = a.memory.empty({a.t, 2, 1, 25});
  for (std::int64_t i = 0; i < a.k.numel(); ++i) set(wide, i / 19 * 25 + 4 + i % 19, get(a.k, i));
  op.k = wide.slice(3, 4, 23);
  run(*a.ctx, op);
  EXPECT_TRUE(same_bits(op.out, shares(a)));
}

TEST_P(FirstTokenShareTest, SameBitsForAnyThreadCount) {
  Attention a(engine, DType::f32, {.kv = 1, .g = 2, .d = 32}, {90, 1, 300, 2, 80, 79});
  a.forward();
  expect_same_bits_for_any_thread_count([&] { return std::vector{shares(a)}; });
}

TEST_P(FirstTokenShareTest, RunsInTheScratchThatAMetaRunMeasures) {
  Attention a(engine, DType::f32, {.kv = 2, .g = 2, .d = 16}, {130, 30});
  a.forward();
  expect_measured_scratch_suffices(share_op(a), GetParam());
}

TEST(AttentionInspection, RejectsWrongOperands) {
  Attention a({"", Isa::avx2, {}}, DType::f32, {.kv = 1, .g = 2, .d = 8}, {4, 3});
  a.forward();
  AttentionEntropy op = entropy_op(a);
  op.scale = 0;
  EXPECT_THROW(run(*a.ctx, op), Error);
  op = entropy_op(a);
  op.out = a.memory.empty({1, 2});
  EXPECT_THROW(run(*a.ctx, op), Error);
  op = entropy_op(a);
  op.documents = a.memory.integers({0, 5, 4, 7});
  EXPECT_THROW(run(*a.ctx, op), Error);
  FirstTokenShare share = share_op(a);
  share.positions = a.memory.integers({0, 1, 2});
  EXPECT_THROW(run(*a.ctx, share), Error);
  share = share_op(a);
  share.documents = a.memory.integers({0, 4, 6});
  EXPECT_THROW(run(*a.ctx, share), Error);
  share = share_op(a);
  share.lse = share.lse.view({2, 1, 7});
  EXPECT_THROW(run(*a.ctx, share), Error);
}

}  // namespace
}  // namespace hg::test
