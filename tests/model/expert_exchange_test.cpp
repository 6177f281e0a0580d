// Rows of experts on their way between ranks: where they come to, and how many bytes that is.
#include "model/expert_exchange.h"

#include <gtest/gtest.h>

#include "support/rank_model.h"
#include "support/tensors.h"

namespace hg::test {
namespace {

// Two ranks, four experts of which each rank has two. Rank 0 has rows for experts 0 0 1 2 3 3, rank
// 1 for 0 and 3.
constexpr std::int64_t kWidth = 8;
const std::vector<std::int32_t> kCounts[] = {{2, 1, 1, 2}, {1, 0, 0, 1}};
const std::vector<std::int32_t> kOffsets[] = {{0, 2, 3, 4, 6}, {0, 1, 1, 1, 2}};

TEST(ExpertExchange, SendsTheRowsOfOtherRanksAndNoMore) {
  run_ranks(2, [](Comm& world) {
    const auto self = static_cast<std::size_t>(world.rank());
    const MeshComms comms(world, {.data = 2, .expert = 2});
    const Comm& comm = *comms.mesh().expert.comm;
    MoeConfig config;
    config.num_experts = 4;
    const ExpertExchange exchange(comms.mesh(), config);
    const auto ctx = cpu_context(isas().front());
    Tensors memory;

    CommCounts before = comm.counts();
    ExpertExchange::Saved saved;
    constexpr std::int64_t kRoom = 12;
    exchange.plan(*ctx, ctx->activations, memory.integers(kCounts[self]),
                  memory.integers(kOffsets[self]), kRoom, saved);
    EXPECT_EQ(since(before, comm).total().bytes, 2 * 4) << "counts of the other rank's experts";
    // Experts 0 and 1, then 2 and 3.
    EXPECT_EQ(integers_of(saved.offsets), self == 0 ? (std::vector<std::int32_t>{0, 3, 4})
                                                    : (std::vector<std::int32_t>{0, 1, 4}));

    // Row i of rank r is full of 10 r + i.
    const std::int64_t rows = self == 0 ? 6 : 2;
    const Tensor x = memory.empty({rows, kWidth}), there = memory.empty({kRoom, kWidth}),
                 back = memory.empty({rows, kWidth});
    for (std::int64_t i = 0; i < x.numel(); ++i)
      set(x, i, static_cast<float>(10 * world.rank() + i / kWidth));
    before = comm.counts();
    exchange.to_experts(*ctx, saved, x, there);
    const std::int64_t leave = self == 0 ? 3 : 1, arrive = 4 - leave;
    EXPECT_EQ(since(before, comm)[CommKind::all_to_all].bytes, leave * kWidth * 4);
    const std::vector<float> expected =
        self == 0 ? std::vector<float>{0, 1, 10, 2} : std::vector<float>{3, 4, 5, 11};
    for (std::int64_t i = 0; i < 4; ++i)
      EXPECT_EQ(get(there, i * kWidth), expected[static_cast<std::size_t>(i)]) << "row " << i;

    before = comm.counts();
    exchange.to_tokens(*ctx, saved, there, back);
    EXPECT_EQ(since(before, comm)[CommKind::all_to_all].bytes, arrive * kWidth * 4);
    for (std::int64_t i = 0; i < x.numel(); ++i) EXPECT_EQ(get(back, i), get(x, i)) << i;
  });
}

// Where every token goes to all experts, the routing is known.
TEST(ExpertExchange, BytesOfAStep) {
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    for (const std::int64_t n : {2, 4}) {
      RunConfig config = rank_config();
      config.training.precision = precision;
      config.model.num_hidden_layers = 3;
      config.model.moe.num_experts = config.model.moe.top_k = 4;
      config.model.moe.expert_intermediate_size = 24;
      config.model.moe.dense_layers = {0};
      config.parallelism.expert = n;
      run_ranks(static_cast<int>(n), [&](Comm& world) {
        RankModel model(world, config);
        const Comm& comm = *model.mesh().expert.comm;
        const CommCounts before = comm.counts();
        constexpr int kMicros = 2, kLayers = 2;
        model.step(kMicros);
        const std::int64_t width = precision == Precision::f32 ? 4 : 2;
        const std::int64_t rows = config.training.seq_len * 4 / n * (n - 1);  // for other ranks
        const std::int64_t counts = 4 * 4 / n * (n - 1);
        // Rows there and back, forward and backward; each row's weight there, its gradient back.
        const std::int64_t each = counts + rows * (4 * config.model.hidden_size * width + 2 * 4);
        EXPECT_EQ(since(before, comm)[CommKind::all_to_all].bytes, kMicros * kLayers * each);
        EXPECT_EQ(since(before, comm).total().bytes, kMicros * kLayers * each);
      });
    }
  }
}

}  // namespace
}  // namespace hg::test
