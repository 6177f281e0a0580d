// Communication on one stream while another computes, on a simulated machine: the calls that a
// parameter store makes, and what happens without the event between the streams.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "dist/comm_queue.h"
#include "support/nccl_ranks.h"

namespace hg::test {
namespace {

constexpr std::int64_t kPiece = 257;

/// A stand-in for a kernel: fn() in the stream.
void launch(cudaStream_t stream, std::function<void()> fn) {
  auto* work = new std::function<void()>(std::move(fn));
  expect_cuda(cudaLaunchHostFunc(
      stream,
      [](void* argument) {
        auto* its_work = static_cast<std::function<void()>*>(argument);
        (*its_work)();
        delete its_work;
      },
      work));
}

enum class Plan { sound, gather_without_event, reduce_without_event };

/// Steps of a model with one layer, its weights sharded over the ranks: gather weights, compute a
/// gradient from them, sum gradients, update the shard. All in device memory; weights travel on the
/// background stream, and buffers are used again in every step. Returns whether all is as expected.
bool train(Comm& world, Comm& background, cudaStream_t compute, cudaStream_t transfer, Plan plan) {
  const int n = world.size();
  const DeviceMemory memory((2 * n + 2) * kPiece * std::int64_t{sizeof(float)});
  auto* const whole = reinterpret_cast<float*>(memory.data());
  float *const gradient = whole + n * kPiece, *const shard = gradient + n * kPiece;
  float* const sum = shard + kPiece;
  const auto tensor = [](float* data, std::int64_t count) {
    return Tensor(data, DType::f32, {count});
  };
  launch(compute, [=, rank = world.rank()] {
    for (std::int64_t i = 0; i < kPiece; ++i) shard[i] = static_cast<float>(rank);
  });
  Event updated, gathered, computed, reduced;
  constexpr int kSteps = 3;
  for (int step = 0; step < kSteps; ++step) {
    if (plan != Plan::gather_without_event) updated.order(compute, transfer);
    background.all_gather(tensor(whole, n * kPiece), tensor(shard, kPiece), "layer");
    gathered.order(transfer, compute);
    launch(compute, [=] {  // 2 w + 1
      for (std::int64_t i = 0; i < n * kPiece; ++i) gradient[i] = 2 * whole[i] + 1;
    });
    computed.order(compute, transfer);
    background.reduce_scatter(tensor(sum, kPiece), tensor(gradient, n * kPiece), "layer");
    if (plan != Plan::reduce_without_event) reduced.order(transfer, compute);
    launch(compute, [=] {
      for (std::int64_t i = 0; i < kPiece; ++i) shard[i] += sum[i];
    });
  }
  std::vector<float> result(kPiece);
  expect_cuda(cudaMemcpyAsync(result.data(), shard, kPiece * sizeof(float), cudaMemcpyDeviceToHost,
                              compute));
  world.barrier();
  float expected = static_cast<float>(world.rank());
  for (int step = 0; step < kSteps; ++step) expected += static_cast<float>(n) * (2 * expected + 1);
  const bool right = std::ranges::all_of(result, [&](float x) { return x == expected; });
  // The streams end before the memory that they work with does.
  expect_cuda(cudaDeviceSynchronize());
  return right;
}

/// How many of some seeds come to something else on some rank.
int wrong_runs(Plan plan) {
  int wrong = 0;
  for (const std::uint64_t seed : {1, 2, 3, 4, 5, 6, 7, 8}) {
    std::atomic<bool> right = true;
    run_devices(4, {.devices = 4, .seed = seed}, [&](Comm& control) {
      const Stream compute, transfer;
      const auto world = simulated_world(control, compute);
      const auto background_world = simulated_world(control, transfer);
      const auto background = background_world->split(0, control.rank(), "data in the background");
      if (!train(*world, *background, compute, transfer, plan)) right = false;
    });
    wrong += right ? 0 : 1;
  }
  return wrong;
}

TEST(NcclStreams, EventsOrderWhatTwoStreamsDo) { EXPECT_EQ(wrong_runs(Plan::sound), 0); }

/// Planted races, which ThreadSanitizer would find in its own way.
void need_races() {
#if defined(HEADGATE_STD_THREADS)
  GTEST_SKIP() << "ThreadSanitizer stops at the race that the test makes";
#endif
}

TEST(NcclStreams, AMissingEventBeforeAGatherShows) {
  need_races();
  if (testing::Test::IsSkipped()) return;
  EXPECT_GT(wrong_runs(Plan::gather_without_event), 0);
}

TEST(NcclStreams, AMissingEventBehindAReductionShows) {
  need_races();
  if (testing::Test::IsSkipped()) return;
  EXPECT_GT(wrong_runs(Plan::reduce_without_event), 0);
}

/// Two axes of a mesh, with a group each on both streams, which a second thread uses as a queue of
/// the background does.
TEST(NcclStreams, TwoThreadsUseTwoStreams) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    run_devices(4, {.devices = 4, .seed = seed}, [&](Comm& control) {
      const Stream compute, transfer;
      const auto world = simulated_world(control, compute);
      const auto background_world = simulated_world(control, transfer);
      const int rank = control.rank();
      const auto tensor = world->split(rank / 2, rank % 2, "tensor");
      const auto data = background_world->split(rank % 2, rank / 2, "data in the background");
      const DeviceMemory memory(2 * kPiece * std::int64_t{sizeof(float)});
      auto* const first = reinterpret_cast<float*>(memory.data());
      float* const second = first + kPiece;
      for (float* x : {first, second}) {
        const std::vector<float> ones(kPiece, 1.0F);
        expect_cuda(cudaMemcpy(x, ones.data(), kPiece * sizeof(float), cudaMemcpyHostToDevice));
      }
      {
        ThreadQueue queue(*background_world);
        for (int i = 0; i < 10; ++i) {
          queue.submit([&](Context&) {
            data->all_reduce(Tensor(second, DType::f32, {kPiece}), Reduce::sum);
          });
          tensor->all_reduce(Tensor(first, DType::f32, {kPiece}), Reduce::sum);
        }
        queue.wait_all();
      }
      world->barrier();
      background_world->barrier();
      for (float* x : {first, second}) {
        std::vector<float> result(kPiece);
        expect_cuda(cudaMemcpy(result.data(), x, kPiece * sizeof(float), cudaMemcpyDeviceToHost));
        HG_CHECK(result.front() == 1024 && result.back() == 1024, "{}", result.front());
      }
    });
  }
}

}  // namespace
}  // namespace hg::test
