// The guard on simulated GPUs: what it skips and goes back to lies in their memory.
#include <gtest/gtest.h>

#include "support/faults.h"
#include "support/gpu_run.h"

namespace hg::test {
namespace {

class CudaGuard : public GpuRun {
 protected:
  using Hashes = std::vector<StateHashes::Entry>;

  CudaGuard() {
    config.training.device = Device::cuda;
    config.training.steps = 4;
    config.training.micro_batch_size = 1;
    config.training.seq_len = 24;
    config.training.replica_check_interval = 1;
    config.data.validation.clear();
    config.checkpoint.interval = 2;
    config.metrics.instrument_interval = 0;
  }

  /// What the two ranks held behind each step of a run with a NaN in the gradient of step 4.
  std::vector<Hashes> run_with_fault(int times) {
    std::vector<Hashes> hashes(2);
    const cuda_sim::Simulation simulation({.devices = 2});
    const std::string resolved = to_yaml(config);
    run_ranks(2, [&](Comm& world) {
      const FaultHook::Options fault{.step = 4, .times = times, .rank = 1};
      train(config, {.folder = folder / fmt::format("{}", times),
                     .resolved_config = resolved,
                     .console = nullptr,
                     .world = &world,
                     .gpu = {.device = world.rank(),
                             .module = headgate_gpu_module(),
                             .nccl = headgate_nccl_api()},
                     .prepare = [&](Trainer& trainer) {
                       trainer.add(std::make_unique<FaultHook>(fault));
                       trainer.add(std::make_unique<StateHashes>(
                           hashes[static_cast<std::size_t>(world.rank())]));
                     }});
    });
    return hashes;
  }
};

TEST_F(CudaGuard, SkipsTheUpdate) {
  config.guard.not_finite = NotFinitePolicy::skip_update;
  for (const Hashes& rank : run_with_fault(1)) {
    ASSERT_EQ(rank.size(), 4U);
    EXPECT_NE(rank[1].hash, rank[2].hash);
    EXPECT_EQ(rank[2].hash, rank[3].hash);
  }
}

TEST_F(CudaGuard, GoesBackAndPassesTheBatchOver) {
  config.guard.not_finite = NotFinitePolicy::rewind_and_skip;
  for (const Hashes& rank : run_with_fault(1)) {
    ASSERT_EQ(rank.size(), 3U + 2U);  // 1 to 3, then 3 and 4 again
    EXPECT_EQ(rank[3].step, 3);
    EXPECT_NE(rank[2].hash, rank[3].hash);  // other samples
    EXPECT_NE(rank[3].hash, rank[4].hash);
  }
  const auto steps = rows("1", "train");
  ASSERT_EQ(steps.size(), 4U);
  EXPECT_EQ(steps.back().at("tokens"), 6 * 4 * 24);
}

}  // namespace
}  // namespace hg::test
