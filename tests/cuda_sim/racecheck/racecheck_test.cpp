// Runs the tests of kernels under the race check: a test in which a kernel races fails. And the
// check itself, on planted races.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda_sim/kernel.h"
#include "cuda_sim/kernels/planted.h"
#include "cuda_sim/racecheck/race_check.h"
#include "support/device_tensors.h"

namespace hg::test {
namespace {

using cuda_sim::RaceCheck;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;

const auto kPair = MatchesRegex("planted\\.cu:[0-9]+ and planted\\.cu:[0-9]+");

struct RaceCheckTest : testing::Test {
  const cuda_sim::Simulation simulation;
  DeviceTensors device;
  Tensors host;
  const float* in = device.copy(host.normal("in", {640})).as<float>();
  const Tensor out = device.copy(host.zeros({128}));

  static std::vector<std::string> races() {
    expect_cuda(cudaDeviceSynchronize());
    return RaceCheck::instance().take_races();
  }
};

TEST_F(RaceCheckTest, FindsAMissingBarrier) {
  block_sums(out.as<float>(), in, true);
  EXPECT_THAT(races(), IsEmpty());
  block_sums(out.as<float>(), in, false);
  EXPECT_THAT(races(), ElementsAre(kPair));
}

TEST_F(RaceCheckTest, FindsAMissingSyncwarp) {
  reverse_in_warp(out.as<float>(), in, true);
  EXPECT_THAT(races(), IsEmpty());
  reverse_in_warp(out.as<float>(), in, false);
  EXPECT_THAT(races(), ElementsAre(kPair));
}

TEST_F(RaceCheckTest, FindsBlocksThatMeetWithoutAtomics) {
  count_blocks(out.as<float>(), true);
  EXPECT_THAT(races(), IsEmpty());
  count_blocks(out.as<float>(), false);
  EXPECT_THAT(races(), testing::Each(kPair));
  count_blocks(out.as<float>(), false);
  EXPECT_THAT(races(), testing::Not(IsEmpty()));
}

TEST_F(RaceCheckTest, CopiesAheadAreOrderedByTheBarrierBehindThem) {
  sum_tiles(out.as<float>(), in, 5, true);
  EXPECT_THAT(races(), IsEmpty());
}

TEST_F(RaceCheckTest, LaunchesAreOrdered) {
  for (int i = 0; i < 3; ++i) reverse_in_warp(out.as<float>(), in, true);
  EXPECT_THAT(races(), IsEmpty());
}

/// Fails the test that has just run if its kernels have raced.
class RaceListener final : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override {
    for (const std::string& race : RaceCheck::instance().take_races())
      ADD_FAILURE() << "a kernel races: " << race;
  }
};

}  // namespace
}  // namespace hg::test

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new hg::test::RaceListener);
  cuda_sim::observer() = {
      .launch = [] { cuda_sim::RaceCheck::instance().begin_launch(); },
      .fresh = [](const void* memory,
                  std::size_t bytes) { cuda_sim::RaceCheck::instance().forget(memory, bytes); },
      .access =
          [](const void* memory, std::size_t bytes, bool write, void* program_counter) {
            cuda_sim::RaceCheck::instance().access(memory, bytes, write, false, program_counter);
          }};
  return RUN_ALL_TESTS();
}
