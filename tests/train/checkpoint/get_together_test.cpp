// Waiting for ranks that write and read.
#include "train/checkpoint/get_together.h"

#include <gmock/gmock.h>

#include <array>
#include <chrono>
#include <thread>

#include "dist/run_ranks.h"

namespace hg::test {
namespace {

TEST(GetTogether, RanksMeetWhileOneOfThemWorks) {
  std::array<int, 2> made{};
  run_ranks(2, [&](Comm& world) {
    const auto meetings = [&] { return world.counts()[CommKind::all_reduce].calls; };
    std::future<int> work;
    if (world.rank() == 1) {
      // Ends only once the ranks have met more than once; a time-out would begin anew with each.
      work = std::async(std::launch::async, [&] {
        while (meetings() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        return 42;
      });
    }
    const std::optional<int> own = get_together(&world, work, "test");
    EXPECT_EQ(own.has_value(), world.rank() == 1);
    made[static_cast<std::size_t>(world.rank())] = own.value_or(0);
  });
  EXPECT_EQ(made[1], 42);
}

TEST(GetTogether, AFailureIsNotWaitedWith) {
  std::promise<int> never;
  try {
    run_ranks(2, [&](Comm& world) {
      std::future<int> work =
          world.rank() == 0
              ? never.get_future()
              : std::async(std::launch::async, [&]() -> int { fail("the disk is full"); });
      get_together(&world, work, "test");
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "rank 1: the disk is full");
  }
}

TEST(GetTogether, WorksForARankThatIsAlone) {
  std::future<int> work = std::async(std::launch::async, [] { return 3; });
  EXPECT_EQ(get_together(nullptr, work, "test"), 3);
  EXPECT_EQ(get_together(nullptr, work, "test"), std::nullopt);
}

}  // namespace
}  // namespace hg::test
