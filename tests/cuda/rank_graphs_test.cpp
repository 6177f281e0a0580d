// Runs of several ranks whose micro-batches are CUDA graphs, with the collectives in them: the same
// bits as op by op, however the streams and the branches of graphs take turns.
#include "support/graph_run.h"

namespace hg::test {
namespace {

class GpuRankGraphs : public GpuGraphRun {
 protected:
  GpuRankGraphs() {
    config.metrics.instrument_interval = 0;
    config.model.num_hidden_layers = 3;  // so that two of them take turns in the same memory
    config.model.hidden_size = config.model.intermediate_size = 16;
  }

  void use(int data, std::int64_t micro_batches, std::int64_t zero_stage) {
    config.training.global_batch_size = data * micro_batches;
    config.parallelism.zero_stage = zero_stage;
  }

  /// What a run with graphs leaves is what one without does, whatever the seed. Returns its counts.
  cuda_sim::Simulation::Counts expect_same(const std::string& name, int ranks,
                                           std::initializer_list<std::uint64_t> seeds) {
    const std::string by_op = name + " by op";
    EXPECT_EQ(run_with(false, by_op, ranks, 3).graph_launches, 0);
    cuda_sim::Simulation::Counts counts{};
    for (const std::uint64_t seed : seeds) {
      const std::string by_graph = fmt::format("{} by graph {}", name, seed);
      counts = run_with(true, by_graph, ranks, seed);
      for (const char* part : {"model", "optimizer"}) {
        EXPECT_EQ(saved(checkpoint(by_graph, "step-00000006"), part),
                  saved(checkpoint(by_op, "step-00000006"), part))
            << by_graph << ", " << part;
      }
    }
    return counts;
  }
};

/// Graphs of a rank of the data axis, and how often it launches one, in runs of one document.
struct Expected {
  int graphs, launches;
};

TEST_F(GpuRankGraphs, StepsOfOneMicroBatchAreAGraph) {
  have_one_document();
  for (const std::int64_t stage : {0, 1, 2, 3}) {
    use(2, 1, stage);
    const auto counts = expect_same(fmt::format("zero {}", stage), 2, {4, 5});
    // With ZeRO 3, validation leaves other weights behind than the optimizer does.
    const Expected expected = stage < 3 ? Expected{1, kSteps - 1} : Expected{2, kSteps - 2};
    EXPECT_EQ(counts.graphs, 2 * expected.graphs) << stage;
    EXPECT_EQ(counts.graph_launches, 2 * expected.launches) << stage;
  }
}

TEST_F(GpuRankGraphs, SoAreAllThreeOfAStep) {
  have_one_document();
  for (const std::int64_t stage : {0, 1, 2, 3}) {
    use(2, kMicroBatches, stage);
    const auto counts = expect_same(fmt::format("zero {}", stage), 2, {6});
    // The first writes gradients; the last sends them, as all do with ZeRO 2 and 3.
    const Expected expected = stage < 2    ? Expected{3, 3 * (kSteps - 1)}
                              : stage == 2 ? Expected{2, 3 * kSteps - 2}
                                           : Expected{3, 3 * kSteps - 3};
    EXPECT_EQ(counts.graphs, 2 * expected.graphs) << stage;
    EXPECT_EQ(counts.graph_launches, 2 * expected.launches) << stage;
  }
}

TEST_F(GpuRankGraphs, FourRanksWithDocumentsThatDifferAgree) {
  config.training.seq_len = 40;  // of one to four documents
  for (const std::int64_t stage : {0, 3}) {
    use(4, 2, stage);
    const auto counts = expect_same(fmt::format("zero {}", stage), 4, {7});
    EXPECT_EQ(counts.graphs % 4, 0);
    EXPECT_GE(counts.graphs, 4 * 2) << stage;
    EXPECT_EQ(counts.graph_launches % 4, 0);
    EXPECT_GE(counts.graph_launches, 4 * kSteps / 2) << stage;
  }
}

TEST_F(GpuRankGraphs, TensorNeighboursRecordWhatTheySayToEachOther) {
  have_one_document();
  config.parallelism.tensor = 2;
  for (const bool sequence : {false, true}) {
    config.parallelism.sequence_parallel = sequence;
    use(1, 2, 0);
    const auto counts = expect_same(fmt::format("tensor {}", sequence), 2, {8, 9});
    EXPECT_EQ(counts.graphs, 2 * 2);
    EXPECT_EQ(counts.graph_launches, 2 * 2 * (kSteps - 1));
  }
  use(2, 1, 1);
  const auto counts = expect_same("tensor and data", 4, {10});
  EXPECT_EQ(counts.graphs, 4);
  EXPECT_EQ(counts.graph_launches, 4 * (kSteps - 1));
}

TEST_F(GpuRankGraphs, ABalanceLossOverAllRanksIsInThem) {
  choose_model(config.model, "moe");
  config.model.moe.aux_loss_coef = 1e-2;
  config.model.moe.load_balance = LoadBalance::global_batch;
  have_one_document();
  use(2, 1, 0);
  EXPECT_EQ(expect_same("moe", 2, {11}).graph_launches, 2 * (kSteps - 1));
}

TEST_F(GpuRankGraphs, LooksAreInThem) {
  have_one_document();
  config.metrics.instrument_interval = 2;
  use(2, 1, 1);
  EXPECT_EQ(expect_same("data", 2, {12}).graphs, 2 * 2);
  expect_same_bits("data by op", "data by graph 12");
  config.parallelism.tensor = 2;
  use(1, 1, 0);
  EXPECT_EQ(expect_same("tensor", 2, {13}).graphs, 2 * 2);
  expect_same_bits("tensor by op", "tensor by graph 13");
}

TEST_F(GpuRankGraphs, AResumedRunHasTheSameBits) {
  have_one_document();
  use(2, 2, 1);
  run_with(false, "by op", 2, 1);
  config.training.steps = kSteps / 2;
  run_with(true, "by graph", 2, 2);
  config.training.steps = kSteps;
  EXPECT_EQ(run_with(true, "by graph", 2, 3).graph_launches, 2 * 2 * (kSteps / 2 - 1));
  EXPECT_EQ(weights("by graph", "step-00000006"), weights("by op", "step-00000006"));
}

TEST_F(GpuRankGraphs, PartsOfSequencesAndExpertsRunByOp) {
  config.training.steps = 2;
  config.checkpoint.interval = 2;
  config.parallelism.context = 2;
  EXPECT_EQ(run_with(true, "context", 2).graph_launches, 0);
  config.parallelism.context = 1;
  config.parallelism.expert = 2;
  choose_model(config.model, "moe");
  use(2, 2, 0);
  EXPECT_EQ(run_with(true, "expert", 2).graph_launches, 0);
}

}  // namespace
}  // namespace hg::test
