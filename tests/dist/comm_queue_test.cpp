#include "dist/comm_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <numeric>

#include "dist/comm_self.h"
#include "dist/run_ranks.h"

namespace hg {
namespace {

TEST(CommQueue, RunsCallsInOrderBesideTheCaller) {
  const auto world = alone();
  std::vector<int> order;
  std::atomic<bool> go = false;
  {
    ThreadQueue queue(*world);
    queue.submit([&](Context&) { go.wait(false); });
    for (int i = 0; i < 10; ++i) queue.submit([&, i](Context&) { order.push_back(i); });
    const auto last = queue.submit([](Context&) {});
    go = true;  // the caller was not held up
    go.notify_all();
    queue.wait(last);
    EXPECT_EQ(order.size(), 10U);
    queue.submit([&](Context&) { order.push_back(10); });
  }  // finishes what was submitted
  std::vector<int> expected(11);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST(CommQueue, CountsBusyAndWaitingSeconds) {
  const auto world = alone();
  ThreadQueue queue(*world);
  std::atomic<bool> go = false;
  const auto first = queue.submit([&](Context&) { go.wait(false); });
  go = true;
  go.notify_all();
  queue.wait(first);
  const CommQueue::Seconds before = queue.seconds();
  EXPECT_GE(before.busy, 0);
  const auto second =
      queue.submit([](Context&) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); });
  queue.wait(second);
  queue.wait(first);  // long done
  const CommQueue::Seconds after = queue.seconds();
  EXPECT_GE(after.busy - before.busy, 0.05);
  EXPECT_GT(after.waiting, before.waiting);
}

TEST(CommQueue, AnExceptionArrivesAtWaitAndEndsTheQueue) {
  const auto world = alone();
  ThreadQueue queue(*world);
  bool ran = false;
  const auto good = queue.submit([](Context&) {});
  const auto bad = queue.submit([](Context&) { fail("a broken wire"); });
  const auto later = queue.submit([&](Context&) { ran = true; });
  EXPECT_NO_THROW(queue.wait(good));
  EXPECT_THROW(queue.wait(bad), Error);
  EXPECT_THROW(queue.wait(later), Error);
  EXPECT_THROW(queue.wait(queue.submit([&](Context&) { ran = true; })), Error);
  EXPECT_THROW(queue.wait_all(), Error);
  EXPECT_FALSE(ran);
  EXPECT_THROW(queue.wait(99), Error);
}

TEST(CommQueue, ReducesBehindOtherCollectives) {
  run_ranks(3, [](Comm& world) {
    const auto background = world.split(0, world.rank(), "background");
    std::vector<std::vector<float>> gradients(20, std::vector<float>(1000, 1.0F));
    ThreadQueue queue(world);
    for (auto& layer : gradients) {
      const Tensor x(layer.data(), DType::f32, {1000});
      queue.submit(
          [&background, x](Context&) { background->all_reduce(x, Reduce::sum, "gradients"); });
      world.barrier("meanwhile");
    }
    queue.wait_all();
    for (const auto& layer : gradients) EXPECT_EQ(layer, std::vector<float>(1000, 3.0F));
  });
}

TEST(CommQueue, ARankThatThrowsDoesNotWaitForItsQueue) {
  std::atomic<int> dropped = 0;
  try {
    run_ranks(3, [&](Comm& world) {
      const auto background = world.split(0, world.rank(), "background");
      std::vector<float> values(10);
      const Tensor x(values.data(), DType::f32, {10});
      ThreadQueue queue(world);
      if (world.rank() == 1) {
        std::atomic<bool> begun = false;
        queue.submit([&](Context&) {
          begun = true;
          begun.notify_all();
          background->all_reduce(x, Reduce::sum);
        });
        queue.submit([&](Context&) { ++dropped; });
        begun.wait(false);
        fail("no luck");
      }
      world.barrier();
    });
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "rank 1: no luck");
  }
  EXPECT_EQ(dropped, 0);
}

}  // namespace
}  // namespace hg
