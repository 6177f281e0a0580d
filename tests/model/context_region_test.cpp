// What ranks of the context axis send each other for a layer, and the order of what they gather:
// docs/parallelism.md.
#include "model/context_region.h"

#include <gtest/gtest.h>

#include <mutex>

#include "support/rank_model.h"
#include "support/tensors.h"

namespace hg::test {
namespace {

TEST(ContextRegion, GathersInTheOrderOfTheMicroBatchAndSumsBack) {
  for (const int ranks : {2, 3, 4}) {
    run_ranks(ranks, [&](Comm& world) {
      const MeshComms comms(world, {.context = ranks});
      const ContextRegion region(comms.mesh());
      const auto ctx = cpu_context(Isa::avx2);
      Tensors memory;
      const std::int64_t piece = 2, tokens = 2 * ranks * piece;
      const Tensor own = memory.empty({2 * piece, 1, 1, 1}), all = memory.empty({tokens, 1, 1, 1});
      const std::int64_t first = world.rank() * piece, second = tokens - first - piece;
      for (std::int64_t i = 0; i < piece; ++i) {
        set(own, i, static_cast<float>(first + i));
        set(own, piece + i, static_cast<float>(second + i));
      }
      region.gather_copy(*ctx, all, own, "test");
      for (std::int64_t t = 0; t < tokens; ++t) EXPECT_EQ(get(all, t), static_cast<float>(t));
      region.sum(*ctx, all, "test");
      const auto parts = region.own(all);
      for (std::int64_t i = 0; i < piece; ++i) {
        EXPECT_EQ(get(parts[0], i), static_cast<float>(ranks * (first + i)));
        EXPECT_EQ(get(parts[1], i), static_cast<float>(ranks * (second + i)));
      }
    });
  }
}

/// What a rank sends along the context axis in a step of one micro-batch, with so many layers.
CommCounts sent(RunConfig config, int ranks, std::int64_t layers) {
  config.model.num_hidden_layers = layers;
  CommCounts result;
  std::mutex mutex;
  run_ranks(ranks, [&](Comm& world) {
    RankModel model(world, config);
    const Mesh& mesh = model.mesh();
    const CommCounts before = mesh.context.comm->counts(), back = mesh.context_back.comm->counts();
    model.step();
    CommCounts counts = since(before, *mesh.context.comm);
    const CommCounts more = since(back, *mesh.context_back.comm);
    for (std::size_t i = 0; i < counts.by_kind.size(); ++i) {
      EXPECT_EQ(counts.by_kind[i].bytes, more.by_kind[i].bytes) << "front and back are as long";
      counts.by_kind[i].calls += more.by_kind[i].calls;
      counts.by_kind[i].bytes += more.by_kind[i].bytes;
    }
    const std::scoped_lock lock(mutex);
    if (result.total().calls == 0) result = counts;
    EXPECT_EQ(counts.total().bytes, result.total().bytes) << "rank " << world.rank();
  });
  return result;
}

class BytesOfContext : public testing::TestWithParam<std::tuple<int, Precision, Recompute, int>> {};

TEST_P(BytesOfContext, AreThoseOfTheTable) {
  const auto [n, precision, recompute, tensor] = GetParam();
  RunConfig config = rank_config();
  config.parallelism.context = n;
  config.parallelism.tensor = tensor;
  config.parallelism.sequence_parallel = tensor > 1;
  config.training.precision = precision;
  config.training.recompute = recompute;
  const ModelConfig& model = config.model;
  const std::int64_t width = precision == Precision::f32 ? 4 : 2;
  // (n - 1) / n of the keys and values of all tokens
  const std::int64_t both = config.training.seq_len * 2 * model.num_key_value_heads / tensor *
                            model.head_dim * width * (n - 1) / n;
  const std::int64_t gathers = recompute == Recompute::none ? 1 : 2;
  for (const std::int64_t layers : {2, 3}) {
    const CommCounts counts = sent(config, n * tensor, layers);
    EXPECT_EQ(counts[CommKind::all_gather].calls, layers * 2 * gathers);
    EXPECT_EQ(counts[CommKind::all_gather].bytes, layers * gathers * both);
    EXPECT_EQ(counts[CommKind::reduce_scatter].calls, layers * 2);
    EXPECT_EQ(counts[CommKind::reduce_scatter].bytes, layers * both);
    EXPECT_EQ(counts.total().bytes, layers * (gathers + 1) * both);
  }
}

std::string name_of_case(const testing::TestParamInfo<BytesOfContext::ParamType>& one) {
  const auto [n, precision, recompute, tensor] = one.param;
  const char* const policies[] = {"", "_cheap", "_recompute"};
  return fmt::format("{}ranks_{}{}{}", n, precision == Precision::f32 ? "f32" : "bf16",
                     policies[static_cast<int>(recompute)], tensor > 1 ? "_tp2sp" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Context, BytesOfContext,
    testing::Combine(testing::Values(2, 4), testing::Values(Precision::f32, Precision::bf16),
                     testing::Values(Recompute::none, Recompute::cheap, Recompute::block),
                     testing::Values(1, 2)),
    name_of_case);

}  // namespace
}  // namespace hg::test
