// Runs whose micro-batches are CUDA graphs, on simulated GPUs: the same bits as op by op, and
// nothing in a graph that the host would have decided otherwise.
#include <gtest/gtest.h>

#include "support/checked_graphs.h"
#include "support/model_variants.h"

namespace hg::test {
namespace {

constexpr std::int64_t kSteps = 6, kMicroBatches = 3;

enum class Documents { differ, one };

class GpuGraphRun : public GpuRun {
 protected:
  GpuGraphRun() {
    config.model.vocab_size = 260;
    config.model.head_dim = 8;
    config.model.intermediate_size = 32;
    config.training.threads = 1;
    config.training.steps = kSteps;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = kMicroBatches;
    config.training.seq_len = 24;
    config.optimizer.lr = 1e-3;
    config.lr_scheduler.decay = ScheduleKind::constant;
    config.validation.interval = 3;
    config.validation.sequences = 2;
    config.checkpoint.interval = 3;
    config.metrics.instrument_interval = config.metrics.details_interval = 2;
    config.metrics.tensorboard = false;
    module = checked_module();
  }

  /// Windows of one long document instead of several short ones each.
  void have_one_document() {
    std::ofstream text(folder / "long.jsonl");
    std::string words;
    for (int i = 0; i < 400; ++i) words += fmt::format("{} and {} make {}. ", i, i + 1, 2 * i + 1);
    for (int i = 0; i < 2; ++i) text << nlohmann::json{{"text", words}} << "\n";
    text.close();
    tokenize(*load_tokenizer("byte"),
             {.files = {folder / "long.jsonl"},
              .corpus = {},
              .output = (folder / "long").string(),
              .validation = 0},
             [](std::int64_t) {});
    config.data.train = (folder / "long_train").string();
  }

  cuda_sim::Simulation::Counts run_with(bool graphs, const std::string& name, int ranks = 1,
                                        std::uint64_t seed = 1) {
    config.training.cuda_graphs = graphs;
    return run_on_gpus(name, {.devices = ranks, .seed = seed});
  }

  /// What a run of these folders says and leaves, but for how long it took.
  void expect_same_bits(const std::string& one, const std::string& other) {
    for (const char* kind : {"train", "val", "instruments"}) {
      const auto expected = rows(one, kind), found = rows(other, kind);
      ASSERT_FALSE(expected.empty()) << kind;
      ASSERT_EQ(found.size(), expected.size()) << kind;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        for (const auto& [key, value] : expected[i].items()) {
          if (key.find("time") != key.npos || key.find("throughput") != key.npos ||
              key.find("memory") != key.npos || key == "tflops")
            continue;
          EXPECT_EQ(found[i].at(key), value) << kind << " " << key << " in row " << i;
        }
      }
    }
    for (const char* part : {"model", "optimizer"}) {
      EXPECT_EQ(saved(checkpoint(one, "step-00000006"), part),
                saved(checkpoint(other, "step-00000006"), part))
          << part;
    }
  }
};

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

TEST_F(GpuGraphRun, RanksRecordWhatDoesNotCommunicate) {
  have_one_document();
  config.training.global_batch_size = 2 * kMicroBatches;
  config.metrics.instrument_interval = 0;
  for (const std::int64_t stage : {0, 1, 2}) {
    config.parallelism.zero_stage = stage;
    const std::string by_op = fmt::format("zero {} by op", stage);
    EXPECT_EQ(run_with(false, by_op, 2, 3).graph_launches, 0);
    for (const std::uint64_t seed : {4, 5, 6}) {
      const std::string by_graph = fmt::format("zero {} by graph {}", stage, seed);
      const auto counts = run_with(true, by_graph, 2, seed);
      // The last micro-batch of a step sends gradients; with ZeRO 1, the first waits for weights.
      const int recorded = stage == 0 ? 2 : stage == 1 ? 1 : 0;
      EXPECT_EQ(counts.graphs, 2 * recorded);
      EXPECT_EQ(counts.graph_launches, 2 * recorded * (kSteps - 1));
      EXPECT_EQ(saved(checkpoint(by_graph, "step-00000006"), "model"),
                saved(checkpoint(by_op, "step-00000006"), "model"));
    }
  }
}

TEST_F(GpuGraphRun, RanksThatShareMicroBatchesRecordNone) {
  config.model.num_hidden_layers = 1;
  config.training.steps = 2;
  config.checkpoint.interval = 2;
  config.parallelism.tensor = 2;
  EXPECT_EQ(run_with(true, "tensor", 2).graph_launches, 0);
  config.parallelism.tensor = 1;
  config.parallelism.context = 2;
  EXPECT_EQ(run_with(true, "context", 2).graph_launches, 0);
  config.parallelism.context = 1;
  config.parallelism.expert = 2;
  choose_model(config.model, "moe");
  config.training.global_batch_size = 2 * kMicroBatches;
  EXPECT_EQ(run_with(true, "expert", 2).graph_launches, 0);
}

}  // namespace
}  // namespace hg::test
