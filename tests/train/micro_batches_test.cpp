// Micro-batches on their way through a pipeline: what stages send each other.
#include "train/micro_batches.h"

#include <gtest/gtest.h>

#include "dist/run_ranks.h"
#include "support/small_run.h"
#include "train/layout.h"

namespace hg::test {
namespace {

class MicroBatchesTest : public SmallRun {
 protected:
  MicroBatchesTest() {
    config.model.num_hidden_layers = 4;
    config.training.micro_batch_size = 1;
    config.training.global_batch_size = 6;
  }
  /// One step on two stages; fn sees what is left.
  void step_on_two_stages(
      const std::function<void(const Mesh&, const std::vector<MicroBatchLoss>&)>& fn) {
    config.parallelism.pipeline = 2;
    const TokenFile file(config.data.train, config.model.vocab_size);
    const CpuInfo cpu = detect_cpu();
    run_ranks(2, [&](Comm& world) {
      const MeshComms comms(world, layout_of(config, world.size()));
      const Mesh& mesh = comms.mesh();
      const auto run = make_training_model(config, cpu, plan_step(config, cpu, mesh), mesh);
      run->store.initialize(1);
      run->store.publish(run->ctx);
      MicroBatches micro_batches(config, *run);
      Loader loader(file, {.seq_len = config.training.seq_len, .sequences = 1});
      const auto losses = micro_batches.step(loader, nullptr);
      run->store.finish_reduce(run->ctx);
      fn(mesh, losses);
    });
  }
};

TEST_F(MicroBatchesTest, StagesSendTheStreamAndItsGradient) {
  for (const std::int64_t chunks : {1, 2}) {
    config.parallelism.pipeline_chunks = chunks;
    step_on_two_stages([&](const Mesh& mesh, const std::vector<MicroBatchLoss>&) {
      const std::int64_t stream = config.training.seq_len * config.model.hidden_size * 4;
      const std::int64_t forward = mesh.first_stage() ? chunks : chunks - 1;
      const std::int64_t backward = mesh.last_stage() ? chunks : chunks - 1;
      const auto sent = [&](PipelineLinks::Way way) { return mesh.links->counts(way).total(); };
      EXPECT_EQ(sent(PipelineLinks::kActivations).calls, 6 * forward);
      EXPECT_EQ(sent(PipelineLinks::kActivations).bytes, 6 * forward * stream);
      EXPECT_EQ(sent(PipelineLinks::kGradients).bytes, 6 * backward * stream);
      // Of the tied embedding: an all-reduce over two sends it once.
      const std::int64_t embedding = config.model.vocab_size * config.model.hidden_size * 4;
      EXPECT_EQ(mesh.ends.comm->counts()[CommKind::all_reduce].bytes, embedding);
    });
  }
}

TEST_F(MicroBatchesTest, TheLastStageHasTheLosses) {
  step_on_two_stages([&](const Mesh& mesh, const std::vector<MicroBatchLoss>& own) {
    double targets = 0;
    for (const MicroBatchLoss& micro : own) targets += micro.targets;
    EXPECT_EQ(targets > 0, mesh.last_stage());
    const auto all = words_of_all_ranks(mesh, {.losses = own}).losses;
    ASSERT_EQ(all.size(), 6U);
    for (const MicroBatchLoss& micro : all) {
      EXPECT_GT(micro.targets, 0);
      EXPECT_NEAR(micro.loss / micro.targets, std::log(257.0), 0.2);
    }
  });
}

}  // namespace
}  // namespace hg::test
