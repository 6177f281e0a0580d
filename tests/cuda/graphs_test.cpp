// Runs whose micro-batches are CUDA graphs, on simulated GPUs: the same bits as op by op, and
// nothing in a graph that the host would have decided otherwise.
#include "support/graph_run.h"

namespace hg::test {
namespace {

TEST_F(GpuGraphRun, ModelsHaveTheSameBits) {
  config.training.seq_len = 40;  // of one to four documents
  const ModelConfig plain = config.model;
  for (const std::string model : {"gated", "moe", "biased"}) {
    config.model = plain;
    choose_model(config.model, model);
    if (model == "moe") {
      config.model.moe.aux_loss_coef = 1e-2;
      config.model.moe.load_balance = LoadBalance::sequence;  // of each document
    }
    const std::string by_op = model + " by op";
    EXPECT_EQ(run_with(false, by_op).graph_launches, 0);
    for (std::uint64_t seed = 1; seed <= (model == "gated" ? 3 : 1); ++seed) {
      const std::string name = fmt::format("{} {}", model, seed);
      const auto counts = run_with(true, name, 1, seed);
      EXPECT_GE(counts.graphs, 3) << model;
      EXPECT_GE(counts.graph_launches, kSteps * kMicroBatches / 2) << model;
      expect_same_bits(by_op, name);
    }
  }
}

TEST_F(GpuGraphRun, MicroBatchesOfOneDocumentAreThreeGraphs) {
  have_one_document();
  const auto by_op = run_with(false, "by op"), by_graph = run_with(true, "by graph");
  expect_same_bits("by op", "by graph");
  // Of the first micro-batch, of the first with instruments, and of the others: each is once run op
  // by op, and then launched.
  EXPECT_EQ(by_graph.graphs, 3);
  EXPECT_EQ(by_graph.graph_launches, kSteps * kMicroBatches - 3);
  EXPECT_LT(by_graph.launches, by_op.launches / 2);
  EXPECT_EQ(by_graph.waits, by_op.waits);
}

TEST_F(GpuGraphRun, ProductsInFp8HaveTheSameBits) {
  have_one_document();
  config.training.seq_len = 32;
  config.training.precision = Precision::bf16;
  for (const Fp8 fp8 : {Fp8::tensor, Fp8::block}) {
    config.training.fp8 = fp8;
    const std::string by_op = fmt::format("{} by op", enum_name(fp8));
    const std::string by_graph = fmt::format("{} by graph", enum_name(fp8));
    run_with(false, by_op);
    EXPECT_EQ(run_with(true, by_graph).graphs, 3);
    expect_same_bits(by_op, by_graph);
  }
}

TEST_F(GpuGraphRun, AResumedRunHasTheSameBits) {
  run_with(false, "by op");
  config.training.steps = kSteps / 2;
  run_with(true, "by graph", 1, 2);
  config.training.steps = kSteps;
  EXPECT_GT(run_with(true, "by graph", 1, 3).graph_launches, 0);
  EXPECT_EQ(weights("by graph", "step-00000006"), weights("by op", "step-00000006"));
}

}  // namespace
}  // namespace hg::test
