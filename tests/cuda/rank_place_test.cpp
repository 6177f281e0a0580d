// Which GPU a rank takes, on simulated machines.
#include "train/rank_place.h"

#include <gmock/gmock.h>

#include "core/gpu.h"
#include "core/gpu_facts.h"
#include "support/gpu_run.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

RunConfig on_gpu() {
  RunConfig config;
  config.training.device = Device::cuda;
  config.training.global_batch_size = 2;
  config.model.num_hidden_layers = 1;
  return config;
}

TEST(RankPlace, TheOnlyVisibleGpuIsTheRanksWhateverItsLocalRank) {
  const auto device_of = [&](int visible, int local_rank) {
    const cuda_sim::Simulation simulation({.devices = visible});
    return open_gpu(on_gpu(), {.device = local_rank, .module = headgate_gpu_module()})->device();
  };
  EXPECT_EQ(device_of(1, 3), 0);
  EXPECT_EQ(device_of(4, 3), 3);
  EXPECT_THROW(device_of(2, 3), Error);
}

TEST(RankPlace, AGpuSaysWhatItIs) {
  const cuda_sim::Simulation simulation({.devices = 2, .architecture = 100});
  const auto gpu = open_gpu(on_gpu(), {.device = 1, .module = headgate_gpu_module()});
  const GpuFacts before = facts_of(*gpu);
  EXPECT_EQ(before.name, "a simulated GPU");
  EXPECT_EQ(before.address, "0000:02:00.0");
  EXPECT_EQ(before.architecture, 100);
  EXPECT_EQ(before.driver, "13.0");
  EXPECT_EQ(before.runtime, "12.8");
  void* memory = gpu->allocate(1000);
  EXPECT_EQ(facts_of(*gpu).available, before.available - 1000);
  EXPECT_EQ(facts_of(*gpu).memory, before.memory);
  gpu->release(memory);
}

TEST(RankPlace, TwoRanksOnOneGpuAreRefused) {
  const cuda_sim::Simulation simulation({.devices = 1});
  const GpuOptions options{.module = headgate_gpu_module(), .nccl = headgate_nccl_api()};
  const auto places = [&](Comm& world) {
    const auto gpu = open_gpu(on_gpu(), options);
    RankPlace(on_gpu(), &world, options, gpu);
  };
  EXPECT_THAT([&] { run_ranks(2, places); },
              testing::ThrowsMessage<Error>(
                  HasSubstr("ranks 0 and 1 both compute on GPU 0000:01:00.0 of ")));
}

}  // namespace
}  // namespace hg::test
