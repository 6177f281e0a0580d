// The op that shows all of attention, of ops/inspect_attention.h.
#include <gtest/gtest.h>

#include <cmath>

#include "ops/inspect_attention.h"
#include "ops/sink.h"
#include "support/attention.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

class AttentionMapTest : public testing::TestWithParam<Isa> {
 protected:
  const Engine engine{"", GetParam(), {}};
};
INSTANTIATE_TEST_SUITE_P(Isas, AttentionMapTest, testing::ValuesIn(isas()));

AttentionMap map_op(Attention& a) {
  return {.out = a.memory.empty({a.dims.kv * a.dims.g, a.t, a.t}),
          .q = a.q,
          .k = a.k,
          .lse = a.lse,
          .documents = a.documents,
          .scale = a.scale};
}
Tensor map(Attention& a) {
  const AttentionMap op = map_op(a);
  run(*a.ctx, op);
  return op.out;
}

double row_sum(const Tensor& map, std::int64_t row) {
  double sum = 0;
  for (std::int64_t s = 0; s < map.dim(2); ++s) sum += double{get(map, row * map.dim(2) + s)};
  return sum;
}

TEST_P(AttentionMapTest, FollowsTheDefinition) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t d : {8, 40, 64}) {
      Attention a(engine, dtype, {.kv = 2, .g = 2, .d = d}, {1, 67, 0, 5});
      a.forward();
      const Tensor out = map(a);
      const auto queries = places(a);
      for (std::int64_t row = 0; row < 4 * a.t; ++row) {
        const std::int64_t head = row / a.t, t = row % a.t;
        for (std::int64_t s = 0; s < a.t; ++s) {
          const float value = get(out, row * a.t + s);
          if (s < queries[static_cast<std::size_t>(t)].first || s > t) {
            EXPECT_EQ(value, 0) << t << ", " << s;
          } else {
            expect_measured(value, std::exp(score(a, t, head, s) - lse(a, head, t)), "map");
          }
        }
        EXPECT_NEAR(row_sum(out, row), 1, kMeasured) << t;
      }
    }
  }
}

TEST_P(AttentionMapTest, TheFirstColumnIsTheFirstTokenShare) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Attention a(engine, dtype, {.kv = 2, .g = 3, .d = 32}, {130});
    a.forward();
    std::vector<std::int32_t> positions;
    for (const Place& place : places(a)) positions.push_back(static_cast<int>(place.position));
    const Tensor shares = a.memory.empty({6, 2}), out = map(a);
    run(*a.ctx, FirstTokenShare{.out = shares,
                                .q = a.q,
                                .k = a.k,
                                .lse = a.lse,
                                .documents = a.documents,
                                .positions = a.memory.integers(positions),
                                .scale = a.scale});
    for (std::int64_t head = 0; head < 6; ++head) {
      double sum = 0;
      for (std::int64_t t = 0; t < a.t; ++t) sum += double{get(out, (head * a.t + t) * a.t)};
      EXPECT_NEAR(sum / 130, double{get(shares, 2 * head)}, kMeasured);
    }
  }
}

TEST_P(AttentionMapTest, ASinkTakesItsPartOfEveryRow) {
  Attention a(engine, DType::f32, {.kv = 1, .g = 2, .d = 16}, {9, 21});
  a.forward();
  const Tensor without = a.memory.copy(a.lse, DType::f32), sinks = a.memory.zeros({1, 2});
  set(sinks, 1, 1.5F);
  run(*a.ctx, SinkForward{.o = a.o, .lse = a.lse, .sinks = sinks});
  const Tensor out = map(a);
  for (std::int64_t row = 0; row < 2 * a.t; ++row) {
    const double keys = std::exp(double{get(without, row)});
    const double sink = std::exp(double{get(sinks, row / a.t)});
    EXPECT_NEAR(row_sum(out, row), keys / (keys + sink), kMeasured);
  }
}

TEST_P(AttentionMapTest, SameBitsForAnyThreadCount) {
  Attention a(engine, DType::f32, {.kv = 1, .g = 2, .d = 32}, {90, 1, 100});
  a.forward();
  expect_same_bits_for_any_thread_count([&] { return std::vector{map(a)}; });
}

TEST_P(AttentionMapTest, RejectsWrongOperands) {
  Attention a(engine, DType::f32, {.kv = 1, .g = 2, .d = 8}, {4, 3});
  a.forward();
  AttentionMap op = map_op(a);
  op.out = a.memory.empty({2, 7, 8});
  EXPECT_THROW(run(*a.ctx, op), Error);
  op = map_op(a);
  op.documents = a.memory.integers({0, 4, 6});
  EXPECT_THROW(run(*a.ctx, op), Error);
  op = map_op(a);
  op.lse = op.lse.view({2, 1, 7});
  EXPECT_THROW(run(*a.ctx, op), Error);
}

}  // namespace
}  // namespace hg::test
