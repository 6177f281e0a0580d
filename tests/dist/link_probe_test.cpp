#include "dist/link_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <set>

#include "dist/run_ranks.h"

namespace hg::test {
namespace {

class Tournament : public testing::TestWithParam<int> {};

TEST_P(Tournament, EveryoneMeetsEveryoneOnce) {
  const int size = GetParam();
  std::set<std::pair<int, int>> met;
  for (int round = 0; round < tournament_rounds(size); ++round) {
    for (int rank = 0; rank < size; ++rank) {
      const int partner = tournament_partner(rank, size, round);
      if (partner < 0) continue;
      ASSERT_LT(partner, size);
      EXPECT_NE(partner, rank);
      EXPECT_EQ(tournament_partner(partner, size, round), rank) << "round " << round;
      EXPECT_TRUE(met.emplace(rank, partner).second) << rank << " meets " << partner << " again";
    }
  }
  EXPECT_EQ(std::ssize(met), size * (size - 1));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Tournament, testing::Values(2, 3, 4, 5, 8, 13));

TEST(LinkProbe, ClocksOfThreadsAgree) {
  run_ranks(3, [](Comm& world) {
    const auto clocks = measure_clocks(world);
    ASSERT_EQ(clocks.size(), world.rank() == 0 ? 3U : 0U);
    for (const ClockOffset& clock : clocks) {
      EXPECT_GE(clock.uncertainty, 0);
      // The same clock, whose microseconds may be rounded.
      EXPECT_LE(std::abs(clock.seconds), clock.uncertainty + 2e-6);
    }
  });
}

TEST(LinkProbe, PairsAreTheSameOnAllRanks) {
  std::mutex mutex;
  std::vector<std::vector<PairLink>> all;
  run_ranks(3, [&](Comm& world) {
    auto pairs = measure_pairs(world, 1 << 12);
    const std::scoped_lock lock(mutex);
    all.push_back(std::move(pairs));
  });
  ASSERT_EQ(all.size(), 3U);
  std::set<std::pair<int, int>> seen;
  for (std::size_t i = 0; i < 3; ++i) {
    const PairLink& pair = all[0].at(i);
    seen.emplace(pair.a, pair.b);
    EXPECT_GT(pair.latency, 0);
    EXPECT_GT(pair.bandwidth, 0);
    EXPECT_LT(pair.bandwidth, 1e13);
    for (const auto& others : all) {
      EXPECT_EQ(others.at(i).latency, pair.latency);
      EXPECT_EQ(others.at(i).bandwidth, pair.bandwidth);
    }
  }
  EXPECT_EQ(seen, (std::set<std::pair<int, int>>{{0, 1}, {0, 2}, {1, 2}}));
}

TEST(LinkProbe, BytesOfCollectivesAreThoseOfTheRing) {
  run_ranks(4, [](Comm& world) {
    const auto speeds = measure_collectives(world, 1 << 14, 0.001);
    const std::pair<CommKind, double> expected[] = {{CommKind::all_reduce, 1.5},
                                                    {CommKind::all_gather, 0.75},
                                                    {CommKind::reduce_scatter, 0.75},
                                                    {CommKind::all_to_all, 0.75}};
    ASSERT_EQ(speeds.size(), std::size(expected));
    for (std::size_t i = 0; i < speeds.size(); ++i) {
      EXPECT_EQ(speeds[i].kind, expected[i].first);
      EXPECT_EQ(speeds[i].bytes, 1 << 14);
      EXPECT_EQ(speeds[i].sent, expected[i].second * (1 << 14)) << name_of(speeds[i].kind);
      EXPECT_GT(speeds[i].seconds, 0);
      EXPECT_EQ(speeds[i].rate(), speeds[i].sent / speeds[i].seconds);
    }
  });
}

}  // namespace
}  // namespace hg::test
