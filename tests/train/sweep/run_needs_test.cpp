// Processes and GPUs of the runs of a sweep.
#include "train/sweep/run_needs.h"

#include <gmock/gmock.h>

#include <array>
#include <cstdlib>

#include "support/token_data.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;

Sweep two_points() {
  Sweep sweep{.path = "s.yaml", .config = {}, .base = {}, .folder = {}, .axes = {}, .points = {}};
  sweep.points.resize(2);
  return sweep;
}

TEST(RunNeeds, AGpuForEachRank) {
  Sweep sweep = two_points();
  EXPECT_EQ(needs_of(sweep).ranks, 1);
  EXPECT_EQ(needs_of(sweep).gpus, 0);
  sweep.config.ranks = 4;
  EXPECT_EQ(needs_of(sweep).gpus, 0);
  sweep.points[1].config.training.device = Device::cuda;
  EXPECT_EQ(needs_of(sweep).ranks, 4);
  EXPECT_EQ(needs_of(sweep).gpus, 4);
}

TEST(RunNeeds, SeveralRanksAreStartedByMpirunOrTheLauncher) {
  SweepConfig config;
  EXPECT_THAT(launcher_words(config), IsEmpty());
  config.ranks = 4;
  EXPECT_THAT(launcher_words(config), IsSupersetOf({"mpirun", "-n", "4"}));
  config.launcher = {"srun", "-n", "4"};
  EXPECT_THAT(launcher_words(config), ElementsAre("srun", "-n", "4"));
}

TEST(RunNeeds, RunsAtATimeHaveGpusOfTheirOwn) {
  const std::array<std::string, 5> gpus = {"2", "3", "5", "GPU-7", "9"};
  EXPECT_THAT(share_gpus(gpus, 2, 2), ElementsAre("2,3", "5,GPU-7"));
  EXPECT_THAT(share_gpus(gpus, 1, 5), ElementsAre("2", "3", "5", "GPU-7", "9"));
  EXPECT_THAT(
      error_of([&] { share_gpus(gpus, 2, 3); }),
      HasSubstr("jobs is 3: as many runs at a time, each of 2 ranks, need 6 GPUs, there are "
                "5 (2,3,5,GPU-7,9)"));
  EXPECT_THAT(error_of([&] { share_gpus({}, 1, 1); }), testing::EndsWith("there are 0"));
}

TEST(RunNeeds, TheGpusThatAreVisibleAreThoseOfTheVariable) {
  const char* before = std::getenv("CUDA_VISIBLE_DEVICES");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("CUDA_VISIBLE_DEVICES", "4,GPU-2", 1);
  EXPECT_THAT(visible_gpus(), ElementsAre("4", "GPU-2"));
  ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
  EXPECT_THAT(visible_gpus(), IsEmpty());
  before == nullptr ? ::unsetenv("CUDA_VISIBLE_DEVICES")
                    : ::setenv("CUDA_VISIBLE_DEVICES", kept.c_str(), 1);
}

}  // namespace
}  // namespace hg::test
