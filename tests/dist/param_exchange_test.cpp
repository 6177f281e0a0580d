// What ranks send for parameters and gradients in a step: the table of docs/parallelism.md.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/rank_model.h"

namespace hg::test {
namespace {

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

/// Elements of a unit's parameters that `takes` picks and that travel together: each begins on a
/// cache line, and so does every rank's shard.
template <class Predicate>
std::int64_t elements(const ParamStore& store, UnitId unit, int ranks, Predicate&& takes) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < store.specs().size(); ++i) {
    const ParamSpec& spec = store.specs()[i];
    if (store.unit_of(i) == unit && takes(spec.split)) sum += round_up(spec.numel(), 32);
  }
  return round_up(sum, 32 * ranks);
}

bool is_whole(Split split) { return split == Split::none || split == Split::partial; }
bool is_experts(Split split) { return split == Split::experts; }
bool is_tensor(Split split) { return !is_whole(split) && !is_experts(split); }

struct Expected {
  std::int64_t all_reduce = 0, reduce_scatter = 0, all_gather = 0;  // bytes
};

/// What n ranks that share these units must send, each of them, in a step of so many micro-batches.
template <class Predicate>
void expect(Expected& sum, const ParamStore& store, int n, int micros, Predicate&& takes) {
  const int stage = static_cast<int>(store.stage());
  const std::int64_t width = size_of(store.compute_dtype()), layers = store.units() - 2;
  for (UnitId unit = 0; unit < store.units(); ++unit) {
    const std::int64_t each = elements(store, unit, n, takes) / n * (n - 1);
    if (stage == 0) sum.all_reduce += 2 * 4 * each;
    if (stage == 1) sum.reduce_scatter += 4 * each;
    if (stage >= 2) sum.reduce_scatter += micros * 4 * each;
    if (stage == 1 || stage == 2) sum.all_gather += width * each;
    if (stage < 3) continue;
    // Passes go up and down, and find the last two layers of the pass before still there. With 4
    // layers or fewer that is, by turns, the upper two and the lower two.
    const bool recurring = unit > 0 && unit <= layers;
    const bool lower = unit <= layers / 2;
    sum.all_gather += width * each * (!recurring ? 1 : lower ? 1 + micros : micros);
  }
}

void check(const CommCounts& counts, const Expected& expected, int rank) {
  EXPECT_EQ(counts[CommKind::all_reduce].bytes, expected.all_reduce) << "rank " << rank;
  EXPECT_EQ(counts[CommKind::reduce_scatter].bytes, expected.reduce_scatter) << "rank " << rank;
  EXPECT_EQ(counts[CommKind::all_gather].bytes, expected.all_gather) << "rank " << rank;
  EXPECT_EQ(counts.total().bytes,
            expected.all_reduce + expected.reduce_scatter + expected.all_gather);
}

class BytesOfStages : public testing::TestWithParam<std::tuple<int, int, Precision, int>> {};

TEST_P(BytesOfStages, AreThoseOfTheTable) {
  const auto [ranks, stage, precision, micros] = GetParam();
  RunConfig config = rank_config();
  config.parallelism.zero_stage = stage;
  config.training.precision = precision;
  run_ranks(ranks, [&, ranks = ranks, micros = micros](Comm& world) {
    RankModel model(world, config);
    model.step(micros);  // the second one finds nothing left over from the beginning
    const Comm& data = *model.mesh().data.background;
    const CommCounts before = data.counts();
    model.step(micros);
    Expected expected;
    expect(expected, model.store(), ranks, micros, is_whole);
    expect(expected, model.store(), ranks, micros, is_tensor);
    check(since(before, data), expected, world.rank());
  });
}

INSTANTIATE_TEST_SUITE_P(Data, BytesOfStages,
                         testing::Combine(testing::Values(2, 4), testing::Range(0, 4),
                                          testing::Values(Precision::f32, Precision::bf16),
                                          testing::Values(1, 3)),
                         [](const auto& one) {
                           return fmt::format(
                               "{}ranks_zero{}_{}_{}micros", std::get<0>(one.param),
                               std::get<1>(one.param),
                               std::get<2>(one.param) == Precision::f32 ? "f32" : "bf16",
                               std::get<3>(one.param));
                         });

TEST(ParamExchange, ExpertsAreSharedByThoseWhoHaveTheSame) {
  for (const int stage : {0, 1, 2, 3}) {
    RunConfig config = rank_config();
    config.model.moe.num_experts = 4;
    config.model.moe.top_k = 2;
    config.model.moe.expert_intermediate_size = 24;
    config.parallelism.zero_stage = stage;
    config.parallelism.expert = 2;
    run_ranks(4, [&](Comm& world) {
      RankModel model(world, config);
      const Comm &data = *model.mesh().data.background,
                 &experts = *model.mesh().expert_data.background;
      const CommCounts data_before = data.counts(), experts_before = experts.counts();
      model.step();
      Expected of_data, of_experts;
      expect(of_data, model.store(), 4, 1, is_whole);
      expect(of_data, model.store(), 4, 1, is_tensor);
      expect(of_experts, model.store(), 2, 1, is_experts);
      EXPECT_GT(of_experts.all_reduce + of_experts.reduce_scatter, 0);
      check(since(data_before, data), of_data, world.rank());
      check(since(experts_before, experts), of_experts, world.rank());
    });
  }
}

// What tensor neighbours hold whole but see with other tokens or heads: norms, routers.
TEST(ParamExchange, PartialGradientsAreSummedOverTheTensorAxis) {
  for (const int stage : {0, 1, 2, 3}) {
    for (const bool sequence : {false, true}) {
      RunConfig config = rank_config();
      config.parallelism.zero_stage = stage;
      config.parallelism.tensor = 2;
      config.parallelism.sequence_parallel = sequence;
      run_ranks(4, [&](Comm& world) {
        RankModel model(world, config);
        const Comm& tensor = *model.mesh().tensor.background;
        const Comm& data = *model.mesh().data.background;
        const CommCounts before = tensor.counts(), data_before = data.counts();
        constexpr int kMicros = 3;
        model.step(kMicros);
        std::int64_t partial = 0, expected = 0;
        for (const ParamSpec& spec : model.store().specs()) {
          partial += spec.split == Split::partial ? 1 : 0;
          // 2 (n - 1) / n of f32
          if (spec.split == Split::partial) expected += 4 * spec.numel();
        }
        // Two head norms in a layer; with shared sequences two norms of the stream, too, and one in
        // front of the head.
        EXPECT_EQ(partial, 4 * 2 + (sequence ? 4 * 2 + 1 : 0));
        expected *= stage >= 2 ? kMicros : 1;
        const CommCounts counts = since(before, tensor);
        EXPECT_EQ(counts[CommKind::all_reduce].bytes, expected) << "stage " << stage;
        EXPECT_EQ(counts.total().bytes, expected);
        Expected of_data;
        expect(of_data, model.store(), 2, kMicros, is_whole);
        expect(of_data, model.store(), 2, kMicros, is_tensor);
        check(since(data_before, data), of_data, world.rank());
      });
    }
  }
}

}  // namespace
}  // namespace hg::test
