// Saved by one layout, loaded by another: the same weights, bit for bit, and the same losses.
#include <gtest/gtest.h>

#include "dist/run_ranks.h"
#include "support/model_variants.h"
#include "support/small_run.h"
#include "train/checkpoint/checkpoint.h"
#include "train/layout.h"
#include "train/metrics/metrics.h"

namespace hg::test {
namespace {

struct Layout {
  const char* name;
  int ranks = 1;
  ParallelismConfig parallelism = {};
};

// One of each kind that changes what a rank holds.
const Layout kLayouts[] = {
    {"one"},
    {"zero0", 2, {.zero_stage = 0}},
    {"zero1", 4, {.zero_stage = 1}},
    {"zero3", 3, {.zero_stage = 3}},
    {"tensor", 4, {.tensor = 4}},
    {"tensor_zero3", 4, {.tensor = 2, .zero_stage = 3, .sequence_parallel = true}},
    {"context", 2, {.context = 2}},
    {"pipeline", 4, {.pipeline = 2, .zero_stage = 1}},
    {"chunks", 2, {.pipeline = 2, .pipeline_chunks = 2}},
};
const Layout kExpertLayouts[] = {
    {"one"},
    {"expert", 2, {.expert = 2}},
    {"expert_zero3", 4, {.expert = 2, .zero_stage = 3}},
    {"expert_tensor", 4, {.tensor = 2, .expert = 4, .zero_stage = 1, .sequence_parallel = true}},
};

class Reshard : public SmallRun {
 protected:
  void prepare(const char* model) {
    config.model.vocab_size = 260;
    config.model.num_hidden_layers = 4;
    config.model.num_attention_heads = 8;
    config.model.num_key_value_heads = 4;
    config.model.head_dim = 8;
    config.training.steps = config.validation.interval = 3;
    config.training.seq_len = 16;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = 12;
    config.training.max_grad_norm = 1e9;  // whether a step is clipped may be a matter of rounding
    config.lr_scheduler.decay = ScheduleKind::constant;
    config.optimizer.lr = 2e-3;
    config.checkpoint.interval = 3;
    config.metrics.instrument_interval = 0;
    config.metrics.tensorboard = false;
    choose_model(config.model, model);
  }

  void run_as(const Layout& layout, const std::string& name) {
    config.parallelism = layout.parallelism;
    const std::string resolved = to_yaml(config);
    run_ranks(layout.ranks, [&](Comm& world) {
      train(config, {.folder = folder / name,
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world});
    });
  }

  /// The state as a process of `layout` holds it that has just loaded a checkpoint: saved again
  /// before any step.
  std::string loaded_by(const Layout& layout, const fs::path& checkpoint, const char* part) {
    config.parallelism = layout.parallelism;
    const fs::path again = folder / "again";
    fs::remove_all(again);
    run_ranks(layout.ranks, [&](Comm& world) {
      const MeshComms comms(world, layout_of(config, layout.ranks));
      RunModel run(config.model, Device::cpu, detect_cpu(), comms.mesh(), zero_stage(config));
      run.store.allocate(Device::cpu, DType::f32, ParamStore::Purpose::training);
      const TrainState state = load_checkpoint(checkpoint, run).state;
      save_checkpoint(again, run, state, config);
    });
    return saved(again / checkpoint_name(3), part);
  }

  void expect_all_pairs(std::span<const Layout> layouts) {
    for (const Layout& from : layouts) {
      config.training.steps = 3;
      run_as(from, from.name);
      const fs::path at_three = checkpoint(from.name, "step-00000003");
      for (const Layout& to : layouts) {
        for (const char* part : {"model", "optimizer"})
          EXPECT_EQ(loaded_by(to, at_three, part), saved(at_three, part))
              << part << " from " << from.name << " to " << to.name;
      }
    }
  }

  /// Losses of the next 10 steps, for every layout that goes on from the first one's checkpoint.
  void expect_same_losses(std::span<const Layout> layouts) {
    config.training.steps = 3;
    run_as(layouts.front(), "start");
    config.training.steps = 13;
    config.checkpoint.interval = 0;
    std::vector<nlohmann::json> expected;
    for (const Layout& layout : layouts) {
      const std::string name = std::string("from one to ") + layout.name;
      fs::create_directories(folder / name / "checkpoints");
      fs::copy(checkpoint("start", "step-00000003"), checkpoint(name, "step-00000003"));
      run_as(layout, name);
      const auto found = rows(name, "train");
      ASSERT_EQ(found.size(), 10U);
      if (expected.empty()) expected = found;
      for (std::size_t i = 0; i < found.size(); ++i) {
        const double loss = expected[i].at(metric::kLoss);
        EXPECT_NEAR(found[i].at(metric::kLoss), loss, 1e-6 * loss) << name << ", step " << 4 + i;
      }
    }
  }
};

TEST_F(Reshard, EveryLayoutLoadsWhatEveryOtherSaves) {
  prepare("gated");
  expect_all_pairs(kLayouts);
}

TEST_F(Reshard, EveryLayoutOfExpertsLoadsWhatEveryOtherSaves) {
  prepare("biased");
  expect_all_pairs(kExpertLayouts);
}

TEST_F(Reshard, TheNextLossesAreTheSame) {
  prepare("gated");
  expect_same_losses(kLayouts);
}

TEST_F(Reshard, TheNextLossesOfExpertsAreTheSame) {
  prepare("moe");
  expect_same_losses(kExpertLayouts);
}

}  // namespace
}  // namespace hg::test
