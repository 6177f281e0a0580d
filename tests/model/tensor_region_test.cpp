// What tensor neighbours send each other for a layer: docs/parallelism.md.
#include "model/tensor_region.h"

#include <gtest/gtest.h>

#include <mutex>

#include "support/rank_model.h"

namespace hg::test {
namespace {

/// What a rank sends along the tensor axis for a step of one micro-batch.
CommCounts sent(const RunConfig& config, int ranks, std::int64_t layers) {
  RunConfig some = config;
  some.model.num_hidden_layers = layers;
  CommCounts result;
  std::mutex mutex;
  run_ranks(ranks, [&](Comm& world) {
    RankModel model(world, some);
    const CommCounts before = model.mesh().tensor.comm->counts();
    model.step();
    const CommCounts counts = since(before, *model.mesh().tensor.comm);
    const std::scoped_lock lock(mutex);
    if (result.total().calls == 0) result = counts;
    EXPECT_EQ(counts.total().bytes, result.total().bytes) << "rank " << world.rank();
  });
  return result;
}

/// ... for one layer more.
CommCounts sent_for_a_layer(const RunConfig& config, int ranks) {
  CommCounts more = sent(config, ranks, 3);
  const CommCounts less = sent(config, ranks, 2);
  for (std::size_t i = 0; i < more.by_kind.size(); ++i) {
    more.by_kind[i].calls -= less.by_kind[i].calls;
    more.by_kind[i].bytes -= less.by_kind[i].bytes;
  }
  return more;
}

class BytesOfRegions : public testing::TestWithParam<std::tuple<int, Precision, Recompute>> {
 protected:
  BytesOfRegions() {
    config.parallelism.tensor = n;
    config.training.precision = std::get<1>(GetParam());
    config.training.recompute = std::get<2>(GetParam());
    const std::int64_t width = config.training.precision == Precision::f32 ? 4 : 2;
    // (n - 1) / n of all tokens' activations
    stream = config.training.seq_len * config.model.hidden_size * width * (n - 1) / n;
  }
  const int n = std::get<0>(GetParam());
  const bool again = std::get<2>(GetParam()) == Recompute::block;
  RunConfig config = rank_config();
  std::int64_t stream;
};

TEST_P(BytesOfRegions, OfTheSameTokens) {
  const CommCounts counts = sent_for_a_layer(config, n);
  // Attention and MLP, forward and backward; made again, attention forward once more.
  const std::int64_t calls = again ? 5 : 4;
  EXPECT_EQ(counts[CommKind::all_reduce].calls, calls);
  EXPECT_EQ(counts[CommKind::all_reduce].bytes, calls * 2 * stream);
  EXPECT_EQ(counts.total().bytes, calls * 2 * stream);
}

TEST_P(BytesOfRegions, OfSharedSequences) {
  config.parallelism.sequence_parallel = true;
  const CommCounts counts = sent_for_a_layer(config, n);
  const std::int64_t gathers = again ? 6 : 4, scatters = again ? 5 : 4;
  EXPECT_EQ(counts[CommKind::all_gather].calls, gathers);
  EXPECT_EQ(counts[CommKind::all_gather].bytes, gathers * stream);
  EXPECT_EQ(counts[CommKind::reduce_scatter].calls, scatters);
  EXPECT_EQ(counts[CommKind::reduce_scatter].bytes, scatters * stream);
  EXPECT_EQ(counts.total().bytes, (gathers + scatters) * stream);
}

INSTANTIATE_TEST_SUITE_P(Tensor, BytesOfRegions,
                         testing::Combine(testing::Values(2, 4),
                                          testing::Values(Precision::f32, Precision::bf16),
                                          testing::Values(Recompute::none, Recompute::block)),
                         [](const auto& one) {
                           return fmt::format(
                               "{}ranks_{}{}", std::get<0>(one.param),
                               std::get<1>(one.param) == Precision::f32 ? "f32" : "bf16",
                               std::get<2>(one.param) == Recompute::block ? "_recompute" : "");
                         });

}  // namespace
}  // namespace hg::test
