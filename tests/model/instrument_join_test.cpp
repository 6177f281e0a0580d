// Ranks that share heads or tokens end up with what one rank sees, as threads.
#include "model/instrument_join.h"

#include <gtest/gtest.h>

#include "dist/run_ranks.h"
#include "ops/inspect_activations.h"
#include "ops/inspect_gate.h"
#include "support/compare.h"
#include "support/tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr std::int64_t kTokens = 30, kHeads = 4, kGroup = 3, kWidth = 8;

/// Calls fn(join, rank, ctx, memory) on each of two ranks of the tensor axis.
void on_two_ranks(bool sequence, auto&& fn) {
  run_ranks(2, [&](Comm& world) {
    const MeshComms comms(world, {.tensor = 2, .sequence = sequence});
    const auto ctx = cpu_context(isas().front());
    Tensors memory;
    fn(InstrumentJoin(comms.mesh()), std::int64_t{world.rank()}, *ctx, memory);
  });
}

/// This rank's half of an axis.
Tensor half(const Tensor& x, int axis, std::int64_t rank) {
  const std::int64_t n = x.dim(axis) / 2;
  return x.slice(axis, rank * n, (rank + 1) * n);
}

struct Scores {
  Tensor heads, histogram, tokens;

  Scores(Context& ctx, Tensors& memory, const ConstTensor& logits)
      : heads(memory.empty({logits.dim(1) * logits.dim(2) + 1, GateScores::kStatistics})),
        histogram(memory.empty({logits.dim(1) * logits.dim(2), GateScores::kBins})),
        tokens(memory.empty({logits.dim(0)})) {
    run(ctx, GateScores{.heads = heads,
                        .histogram = histogram,
                        .tokens = tokens,
                        .logits = logits,
                        .activation = Activation::sigmoid,
                        .scale = 1});
  }
};

TEST(InstrumentJoin, ScoresAreThoseOfAllHeads) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t width : {kWidth, std::int64_t{1}}) {
      on_two_ranks(
          false, [&](const InstrumentJoin& join, std::int64_t rank, Context& ctx, Tensors& memory) {
            const Tensor logits =
                memory.normal("logits", {kTokens, kHeads, kGroup, width}, dtype, 2.0F);
            const Scores whole(ctx, memory, logits);
            const Scores joined(ctx, memory, join.all_heads(ctx, half(logits, 1, rank)));
            EXPECT_LT(relative_error(joined.heads, whole.heads), kReordered);
            EXPECT_LT(relative_error(joined.tokens, whole.tokens), kReordered);
            EXPECT_TRUE(same_bits(joined.histogram, whole.histogram));
            for (const auto statistic :
                 {GateScores::kQuantile01, GateScores::kMedian, GateScores::kQuantile99}) {
              const std::int64_t pooled = kHeads * kGroup * GateScores::kStatistics + statistic;
              EXPECT_EQ(get(joined.heads, pooled), get(whole.heads, pooled));
            }
          });
    }
  }
}

TEST(InstrumentJoin, SharedAndLearnedLogitsAreThoseOfAllHeads) {
  on_two_ranks(false,
               [&](const InstrumentJoin& join, std::int64_t rank, Context& ctx, Tensors& memory) {
                 const Shape all{kTokens, kHeads, kGroup, kWidth}, own = all.with(1, kHeads / 2);
                 const Tensor shared = memory.normal("shared", {kTokens, 1, 1, kWidth});
                 const Tensor learned = memory.normal("learned", {1, kHeads, kGroup, kWidth});
                 const auto expect = [&](const ConstTensor& whole, const ConstTensor& part) {
                   const Scores expected(ctx, memory, whole);
                   const Scores joined(ctx, memory, join.all_heads(ctx, part));
                   EXPECT_LT(relative_error(joined.heads, expected.heads), kReordered);
                   EXPECT_LT(relative_error(joined.tokens, expected.tokens), kReordered);
                 };
                 expect(shared.expand(all), shared.expand(own));
                 expect(learned.expand(all), half(learned, 1, rank).expand(own));
               });
}

TEST(InstrumentJoin, TablesAreInTheOrderOfHeads) {
  on_two_ranks(false,
               [&](const InstrumentJoin& join, std::int64_t rank, Context& ctx, Tensors& memory) {
                 const Tensor table = memory.empty({6, 2}), own = join.own_heads(table);
                 ASSERT_EQ(own.shape(), Shape({3, 2}));
                 for (std::int64_t i = 0; i < 6; ++i) set(own, i, static_cast<float>(6 * rank + i));
                 join.gather_heads(ctx, table);
                 for (std::int64_t i = 0; i < 12; ++i)
                   EXPECT_EQ(get(table, i), static_cast<float>(i));
               });
}

TEST(InstrumentJoin, MagnitudesAreOfAllChannelsAndTokens) {
  for (const bool sequence : {false, true}) {
    on_two_ranks(sequence, [&](const InstrumentJoin& join, std::int64_t rank, Context& ctx,
                               Tensors& memory) {
      const Tensor x = memory.normal("x", {kTokens, 40});
      set(x, 17 * 40 + 33, -9);
      const auto measured = [&](auto&& measure) {
        const Tensor out = memory.empty({Magnitudes::kStatistics});
        measure(out);
        return out;
      };
      const Tensor whole =
          measured([&](const Tensor& out) { run(ctx, Magnitudes{.out = out, .x = x}); });
      const Tensor by_heads =
          measured([&](const Tensor& out) { join.measure_heads(ctx, out, half(x, 1, rank)); });
      // Tokens are shared only with shared sequences: else each rank has all.
      const Tensor by_tokens = measured([&](const Tensor& out) {
        join.measure_tokens(ctx, out, sequence ? half(x, 0, rank) : x);
      });
      for (const Tensor& joined : {by_heads, by_tokens}) {
        EXPECT_LT(relative_error(joined, whole), kReordered);
        EXPECT_EQ(get(joined, Magnitudes::kToken), 17);
        EXPECT_EQ(get(joined, Magnitudes::kChannel), 33);
      }
    });
  }
}

TEST(InstrumentJoin, TokensAreAddedUpWhereTheyAreShared) {
  for (const bool sequence : {false, true}) {
    on_two_ranks(sequence,
                 [&](const InstrumentJoin& join, std::int64_t rank, Context& ctx, Tensors& memory) {
                   const auto one = static_cast<std::int32_t>(rank);
                   const Tensor counts = memory.integers({3 + one, 5}), largest = memory.zeros({1});
                   set(largest, 0, 2 - static_cast<float>(rank));
                   join.reduce_tokens(ctx, counts, Reduce::sum);
                   join.reduce_tokens(ctx, largest, Reduce::max);
                   const auto expected = sequence ? std::vector{7, 10} : std::vector{3 + one, 5};
                   EXPECT_EQ(integers_of(counts), expected);
                   EXPECT_EQ(get(largest, 0), sequence ? 2 : 2 - static_cast<float>(rank));
                 });
  }
}

TEST(InstrumentJoin, ARankAloneHasTheWhole) {
  const InstrumentJoin join{Mesh{}};
  EXPECT_TRUE(join.alone());
  Tensors memory;
  const auto ctx = cpu_context(isas().front());
  const Tensor x = memory.normal("x", {kTokens, kHeads, kGroup, kWidth});
  EXPECT_EQ(join.all_heads(*ctx, x).data(), x.data());
  EXPECT_EQ(join.own_heads(x).shape(), x.shape());
  EXPECT_EQ(ctx->scratch.used(), 0U);
}

}  // namespace
}  // namespace hg::test
