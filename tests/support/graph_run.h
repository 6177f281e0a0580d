// Small runs on simulated GPUs, op by op and by graphs that are checked at every launch.
#pragma once

#include <gtest/gtest.h>

#include "support/checked_graphs.h"
#include "support/model_variants.h"

namespace hg::test {

inline constexpr std::int64_t kSteps = 6, kMicroBatches = 3;

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

}  // namespace hg::test
