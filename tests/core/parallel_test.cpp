#include "core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace hg {
namespace {

/// Sets the number of threads while it lives.
class Threads {
 public:
  explicit Threads(int threads) : before_(num_threads()) { set_num_threads(threads); }
  ~Threads() { set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

TEST(ParallelFor, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 5}) {
    const Threads scope(threads);
    for (const std::size_t tasks : {0U, 1U, 3U, 1000U}) {
      std::vector<std::atomic<int>> runs(tasks);
      parallel_for(static_cast<std::int64_t>(tasks),
                   [&](std::int64_t task) { ++runs[static_cast<std::size_t>(task)]; });
      for (const auto& count : runs)
        EXPECT_EQ(count, 1) << threads << " threads, " << tasks << " tasks";
    }
  }
}

TEST(ParallelFor, AWorkerIsOneThreadAtATime) {
  const Threads scope(3);
  std::vector<std::atomic<int>> busy(3);
  std::atomic<bool> shared = false;
  parallel_for(2000, [&](std::int64_t, int worker) {
    ASSERT_GE(worker, 0);
    ASSERT_LT(worker, 3);
    auto& count = busy[static_cast<std::size_t>(worker)];
    if (++count != 1) shared = true;
    --count;
  });
  EXPECT_FALSE(shared);
}

TEST(ParallelFor, UsesSeveralThreads) {
  const Threads scope(2);
  // Each of the two tasks waits for the other; the deadline only keeps a failure from hanging.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  std::atomic<int> started = 0, met = 0;
  parallel_for(2, [&](std::int64_t) {
    ++started;
    while (started < 2 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    met += started;
  });
  EXPECT_EQ(met, 4);  // both saw two tasks begun
}

TEST(ParallelFor, RethrowsAnExceptionAndWorksAfterwards) {
  for (const int threads : {1, 2, 4}) {
    const Threads scope(threads);
    std::atomic<int> runs = 0;
    const auto call = [&] {
      parallel_for(1000000, [&](std::int64_t task) {
        ++runs;
        if (task == 7) throw std::runtime_error("task 7");
      });
    };
    EXPECT_THROW(call(), std::runtime_error);
    EXPECT_LT(runs, 1000000);  // the rest is not begun
    runs = 0;
    parallel_for(10, [&](std::int64_t) { ++runs; });
    EXPECT_EQ(runs, 10);
  }
}

TEST(ParallelRanges, CutsIntoPiecesOfTheGrain) {
  const Threads scope(2);
  std::mutex mutex;
  std::set<std::pair<std::int64_t, std::int64_t>> pieces;
  parallel_ranges(23, 10, [&](std::int64_t begin, std::int64_t end) {
    const std::scoped_lock lock(mutex);
    pieces.emplace(begin, end);
  });
  EXPECT_EQ(pieces, (std::set<std::pair<std::int64_t, std::int64_t>>{{0, 10}, {10, 20}, {20, 23}}));
  parallel_ranges(0, 10, [](std::int64_t, std::int64_t) { FAIL() << "a piece of nothing"; });
}

TEST(NumThreads, IsAtLeastOne) {
  const Threads scope(0);
  EXPECT_EQ(num_threads(), 1);
}

}  // namespace
}  // namespace hg
