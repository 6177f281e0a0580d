#include "dist/cpu_share.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "dist/comm_self.h"
#include "dist/run_ranks.h"

namespace hg::test {
namespace {

using Cpus = std::vector<std::vector<int>>;

TEST(CpuShare, RangesAreShort) {
  EXPECT_EQ(ranges_of(std::vector<int>{}), "");
  EXPECT_EQ(ranges_of(std::vector{4}), "4");
  EXPECT_EQ(ranges_of(std::vector{0, 1, 2, 3, 8, 10, 11}), "0-3, 8, 10-11");
}

TEST(CpuShare, UnboundRanksUseEqualParts) {
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6};
  EXPECT_EQ(fair_threads(Cpus(1, all), 0), 7);
  EXPECT_EQ(fair_threads(Cpus(2, all), 0), 3);
  EXPECT_EQ(fair_threads(Cpus(7, all), 6), 1);  // seven sevenths are one
  EXPECT_EQ(fair_threads(Cpus(9, all), 8), 1);  // never none
}

TEST(CpuShare, BoundRanksUseAllThatIsTheirs) {
  const Cpus two_sockets = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  EXPECT_EQ(fair_threads(two_sockets, 0), 4);
  EXPECT_EQ(fair_threads(two_sockets, 1), 4);
  const Cpus pairs_on_sockets = {{0, 1, 2, 3}, {0, 1, 2, 3}, {4, 5}, {4, 5}};
  EXPECT_EQ(fair_threads(pairs_on_sockets, 0), 2);
  EXPECT_EQ(fair_threads(pairs_on_sockets, 3), 1);
  const Cpus overlapping = {{0, 1, 2}, {2, 3}};
  EXPECT_EQ(fair_threads(overlapping, 0), 2);
  EXPECT_EQ(fair_threads(overlapping, 1), 1);
}

TEST(CpuShare, FollowsTheBindingOfThisThread) {
  cpu_set_t before;
  ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
  const std::vector<int> all = usable_cpus();
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(std::ssize(all), CPU_COUNT(&before));
  EXPECT_EQ(fair_threads(*alone()), std::ssize(all));
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(all.back()), &one);
  ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cpus(), std::vector{all.back()});
  EXPECT_EQ(fair_threads(*alone()), 1);
  ASSERT_EQ(::sched_setaffinity(0, sizeof before, &before), 0);
}

TEST(CpuShare, RanksOfOneHostFindEachOther) {
  const auto cpus = std::ssize(usable_cpus());
  run_ranks(
      2, [&](Comm& comm) { EXPECT_EQ(fair_threads(comm), std::max<std::ptrdiff_t>(1, cpus / 2)); });
}

}  // namespace
}  // namespace hg::test
