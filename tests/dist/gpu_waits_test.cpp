#include "dist/gpu_waits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "dist/comm_thread.h"
#include "dist/watchdog.h"

namespace hg::test {
namespace {

CommEvent all_reduce_of(const std::string& label) {
  CommEvent event{};
  event.kind = CommKind::all_reduce;
  event.group = "tp";
  event.members = std::make_shared<const std::vector<int>>(std::vector{0, 1});
  event.label = label;
  return event;
}

TEST(GpuWaits, StandInTheRecordWhileTheyLast) {
  const auto host = std::make_shared<FlightRecord>(3), compute = std::make_shared<FlightRecord>(3),
             background = std::make_shared<FlightRecord>(3);
  const auto watch = waits_into(host, {compute, background}, 5);
  { const auto wait = watch(); }
  EXPECT_EQ(host->last()->to_string(), "gpu_wait #1 of GPU 5");
  compute->leave(compute->enter(all_reduce_of("layers.7")), true);
  background->leave(background->enter(all_reduce_of("layers.9 gradients")), true);
  const auto wait = watch();
  ASSERT_TRUE(host->oldest_pending());
  EXPECT_EQ(host->oldest_pending()->second.to_string(),
            "gpu_wait #2 of GPU 5 (behind all_reduce #1 of tp (layers.7), and all_reduce #1 of tp "
            "(layers.9 gradients))");
}

TEST(GpuWaits, TheWatchdogEndsAJobWhoseGpusWaitForEver) {
  const auto world = thread_world(2);
  std::mutex mutex;
  std::vector<std::string> reports;
  std::vector<std::unique_ptr<Watchdog>> watchdogs;
  for (const auto& comm : world) {
    const auto report = [&](const std::string& text) {
      const std::scoped_lock lock(mutex);
      reports.push_back(text);
    };
    watchdogs.push_back(std::make_unique<Watchdog>(
        *comm, WatchdogOptions{.timeout = 1, .grace = 3, .records = {}, .report = report}));
  }
  std::atomic<bool> over = false;
  {
    const std::jthread waits([&] {
      const auto wait = waits_into(world[0]->shared_record(), {}, 0)();
      over.wait(false);
    });
    EXPECT_THROW(world[1]->barrier("losses"), CommAborted);
    over = true;
    over.notify_all();
  }
  watchdogs.clear();
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports.front(), "rank 0 has waited for its GPU for 1 s, in gpu_wait #1 of GPU 0");
}

}  // namespace
}  // namespace hg::test
