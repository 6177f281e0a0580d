// The simulated machine itself: it must be no kinder than a real one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <cmath>
#include <set>
#include <thread>

#include "support/nccl_ranks.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

float* floats(const DeviceMemory& memory) { return reinterpret_cast<float*>(memory.data()); }

/// Appends a number to a list, in the stream.
void note(std::vector<int>& list, int number, cudaStream_t stream) {
  struct Note {
    std::vector<int>& list;
    int number;
  };
  expect_cuda(cudaLaunchHostFunc(
      stream,
      [](void* argument) {
        auto* its = static_cast<Note*>(argument);
        its->list.push_back(its->number);
        delete its;
      },
      new Note{list, number}));
}

TEST(CudaSim, FreshMemoryIsNan) {
  const cuda_sim::Simulation simulation;
  const DeviceMemory memory(64);
  float values[16] = {};
  expect_cuda(cudaMemcpy(values, memory.data(), 64, cudaMemcpyDeviceToHost));
  for (const float value : values) EXPECT_TRUE(std::isnan(value));
  expect_cuda(cudaMemset(memory.data(), 0, 32));
  expect_cuda(cudaMemcpy(values, memory.data(), 64, cudaMemcpyDeviceToHost));
  EXPECT_EQ(values[7], 0);
  EXPECT_TRUE(std::isnan(values[8]));
}

TEST(CudaSim, CopiesAreChecked) {
  const cuda_sim::Simulation simulation;
  const DeviceMemory memory(64);
  char host[128] = {};
  EXPECT_EQ(cudaMemcpy(memory.data(), host, 64, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaMemcpy(memory.data(), host, 65, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_THAT(cuda_sim::Simulation::explanation(),
              HasSubstr("65 bytes from byte 0 of an allocation go beyond its end, which has 64"));
  EXPECT_EQ(cudaMemset(host, 0, 4), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFreeHost(memory.data()), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(memory.data() + 8), cudaErrorInvalidValue);
  EXPECT_EQ(cudaSetDevice(8), cudaErrorInvalidDevice);
  EXPECT_EQ(cuda_sim::Simulation::left_over(), 1U);
}

TEST(CudaSim, NothingRunsBeforeSomeoneWaits) {
  const cuda_sim::Simulation simulation;
  const Stream stream;
  std::vector<int> done;
  for (const int i : {1, 2, 3}) note(done, i, stream);
  EXPECT_THAT(done, testing::IsEmpty());
  expect_cuda(cudaStreamSynchronize(stream));
  EXPECT_THAT(done, testing::ElementsAre(1, 2, 3));
}

TEST(CudaSim, APinnedBufferThatIsWrittenTooEarlyShows) {
  const cuda_sim::Simulation simulation;
  const Stream stream;
  const DeviceMemory memory(4);
  float pageable = 1, result = 0, *pinned = nullptr;
  expect_cuda(cudaMallocHost(reinterpret_cast<void**>(&pinned), 4));
  *pinned = 1;
  for (float* source : {pinned, &pageable}) {
    expect_cuda(cudaMemcpyAsync(memory.data(), source, 4, cudaMemcpyHostToDevice, stream));
    *source = 2;
    expect_cuda(cudaMemcpyAsync(&result, memory.data(), 4, cudaMemcpyDeviceToHost, stream));
    EXPECT_EQ(result, source == pinned ? 2 : 1);  // pageable memory is read before the call returns
  }
  expect_cuda(cudaFreeHost(pinned));
}

/// The order in which two streams do three things each.
std::vector<int> order(std::uint64_t seed, bool with_event) {
  const cuda_sim::Simulation simulation({.devices = 1, .seed = seed});
  const Stream first, second;
  cudaEvent_t event = nullptr;
  expect_cuda(cudaEventCreate(&event));
  std::vector<int> done;
  for (const int i : {1, 2, 3}) note(done, i, first);
  expect_cuda(cudaEventRecord(event, first));
  if (with_event) expect_cuda(cudaStreamWaitEvent(second, event, 0));
  for (const int i : {4, 5, 6}) note(done, i, second);
  expect_cuda(cudaDeviceSynchronize());
  expect_cuda(cudaEventDestroy(event));
  return done;
}

TEST(CudaSim, StreamsTakeTurnsByTheSeed) {
  std::set<std::vector<int>> seen;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    EXPECT_EQ(order(seed, false), order(seed, false));
    EXPECT_THAT(order(seed, true), testing::ElementsAre(1, 2, 3, 4, 5, 6));
    seen.insert(order(seed, false));
  }
  EXPECT_GT(seen.size(), 5U);
}

TEST(CudaSim, TheDefaultStreamIsInStepWithBlockingStreamsOnly) {
  std::set<std::vector<int>> blocking_orders, other_orders;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const cuda_sim::Simulation simulation({.devices = 1, .seed = seed});
    for (const unsigned flags : {cudaStreamDefault, cudaStreamNonBlocking}) {
      cudaStream_t stream = nullptr;
      expect_cuda(cudaStreamCreateWithFlags(&stream, flags));
      std::vector<int> done;
      note(done, 1, stream);
      note(done, 2, nullptr);
      note(done, 3, stream);
      expect_cuda(cudaDeviceSynchronize());
      (flags == cudaStreamDefault ? blocking_orders : other_orders).insert(done);
      expect_cuda(cudaStreamDestroy(stream));
    }
  }
  EXPECT_THAT(blocking_orders, testing::ElementsAre(std::vector{1, 2, 3}));
  EXPECT_GT(other_orders.size(), 1U);
}

TEST(CudaSim, AHostFunctionMustNotCallCuda) {
  const cuda_sim::Simulation simulation;
  const Stream stream;
  cudaError_t code = cudaSuccess;
  expect_cuda(cudaLaunchHostFunc(
      stream, [](void* result) { *static_cast<cudaError_t*>(result) = cudaDeviceSynchronize(); },
      &code));
  expect_cuda(cudaStreamSynchronize(stream));
  EXPECT_EQ(code, cudaErrorNotPermitted);
}

TEST(CudaSim, EventsTellTime) {
  const cuda_sim::Simulation simulation;
  const Stream stream;
  cudaEvent_t start = nullptr, end = nullptr;
  for (cudaEvent_t* event : {&start, &end}) expect_cuda(cudaEventCreate(event));
  float milliseconds = -1;
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorInvalidResourceHandle);
  expect_cuda(cudaEventRecord(start, stream));
  expect_cuda(cudaEventRecord(end, stream));
  EXPECT_EQ(cudaEventElapsedTime(&milliseconds, start, end), cudaErrorNotReady);
  while (cudaEventQuery(end) == cudaErrorNotReady) continue;  // asking is enough
  expect_cuda(cudaEventElapsedTime(&milliseconds, start, end));
  EXPECT_GE(milliseconds, 0);
  for (cudaEvent_t event : {start, end}) expect_cuda(cudaEventDestroy(event));
}

/// Two ranks with a communicator each that does not block.
TEST(NcclSim, NothingIsEnqueuedBeforeTheStateIsLookedAt) {
  run_devices(2, {.devices = 2}, [](Comm& control) {
    const Stream stream;
    const DeviceMemory memory(4);
    const float one = 1;
    expect_cuda(cudaMemcpy(memory.data(), &one, 4, cudaMemcpyHostToDevice));
    ncclUniqueId id{};
    if (control.rank() == 0) ncclGetUniqueId(&id);
    control.broadcast(Tensor(&id, DType::i32, {sizeof id / 4}), 0);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t comm = nullptr;
    EXPECT_EQ(ncclCommInitRankConfig(&comm, 2, id, control.rank(), &config), ncclInProgress);
    const auto settle = [&] {
      ncclResult_t state = ncclInProgress;
      while (state == ncclInProgress) ncclCommGetAsyncError(comm, &state);
      EXPECT_EQ(state, ncclSuccess);
    };
    settle();
    const auto sum = [&] {
      return ncclAllReduce(memory.data(), memory.data(), 1, ncclFloat32, ncclSum, comm, stream);
    };
    EXPECT_EQ(sum(), ncclInProgress);
    EXPECT_EQ(sum(), ncclInvalidUsage);
    EXPECT_EQ(cudaStreamQuery(stream), cudaSuccess);
    settle();
    EXPECT_EQ(sum(), ncclInProgress);
    settle();
    expect_cuda(cudaStreamSynchronize(stream));
    EXPECT_EQ(*floats(memory), 4);
    EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
  });
}

}  // namespace
}  // namespace hg::test
