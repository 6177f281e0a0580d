// Simulated graphs: they must be no kinder than real ones.
#include "cuda_sim/graphs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "support/nccl_ranks.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

cudaError_t begin(cudaStream_t stream) {
  return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
}

/// What `work` puts into the stream.
template <class Work>
cudaGraph_t capture(cudaStream_t stream, Work&& work) {
  expect_cuda(begin(stream));
  work();
  cudaGraph_t graph = nullptr;
  expect_cuda(cudaStreamEndCapture(stream, &graph));
  return graph;
}

cudaGraphExec_t instantiate(cudaGraph_t graph) {
  cudaGraphExec_t ready = nullptr;
  expect_cuda(cudaGraphInstantiate(&ready, graph, 0));
  expect_cuda(cudaGraphDestroy(graph));
  return ready;
}

unsigned char byte_of(const DeviceMemory& memory) {
  unsigned char value = 0;
  expect_cuda(cudaMemcpy(&value, memory.data(), 1, cudaMemcpyDeviceToHost));
  return value;
}

TEST(CudaSimGraphs, RunWhenTheyAreLaunchedWithTheOperandsOfTheirRecording) {
  const cuda_sim::Simulation simulation;
  {
    const Stream stream;
    const DeviceMemory memory(64);
    int value = 1;
    const cudaGraphExec_t graph = instantiate(
        capture(stream, [&] { expect_cuda(cudaMemsetAsync(memory.data(), value, 64, stream)); }));
    expect_cuda(cudaStreamSynchronize(stream));
    EXPECT_EQ(byte_of(memory), 0xff) << "nothing ran";
    for (value = 2; value < 4; ++value) {
      expect_cuda(cudaMemsetAsync(memory.data(), 7, 64, stream));
      expect_cuda(cudaGraphLaunch(graph, stream));
      expect_cuda(cudaStreamSynchronize(stream));
      EXPECT_EQ(byte_of(memory), 1);
    }
    expect_cuda(cudaGraphLaunch(graph, stream));
    EXPECT_EQ(cudaGraphExecDestroy(graph), cudaErrorIllegalState) << "it is under way";
    expect_cuda(cudaStreamSynchronize(stream));
    expect_cuda(cudaGraphExecDestroy(graph));
  }
  EXPECT_EQ(cuda_sim::Simulation::counts().graphs, 1);
  EXPECT_EQ(cuda_sim::Simulation::counts().graph_launches, 3);
  EXPECT_EQ(cuda_sim::Simulation::left_over(), 0U);
}

/// A call in a capture that must fail, and the error that it gives.
struct Forbidden {
  const char* name;
  cudaError_t code;
  std::function<cudaError_t(cudaStream_t, const DeviceMemory&)> call;
};
void PrintTo(const Forbidden& forbidden, std::ostream* out) { *out << forbidden.name; }

class CudaSimCapture : public testing::TestWithParam<Forbidden> {};

TEST_P(CudaSimCapture, IsInvalidBehindACallThatCannotBeRecorded) {
  const cuda_sim::Simulation simulation;
  const Stream stream;
  const DeviceMemory memory(64);
  expect_cuda(begin(stream));
  EXPECT_EQ(GetParam().call(stream, memory), GetParam().code);
  EXPECT_EQ(cudaMemsetAsync(memory.data(), 0, 64, stream), cudaErrorStreamCaptureInvalidated);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(graph, nullptr);
  EXPECT_THAT(cuda_sim::Simulation::explanation(), HasSubstr("the recording is invalid"));
  expect_cuda(cudaMemsetAsync(memory.data(), 3, 64, stream));  // as if there had been none
  expect_cuda(cudaStreamSynchronize(stream));
  EXPECT_EQ(byte_of(memory), 3);
}

INSTANTIATE_TEST_SUITE_P(
    Calls, CudaSimCapture,
    testing::Values(
        Forbidden{"allocation", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t, const DeviceMemory&) {
                    void* memory = nullptr;
                    return cudaMalloc(&memory, 8);
                  }},
        Forbidden{"free", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t, const DeviceMemory& memory) { return cudaFree(memory.data()); }},
        Forbidden{
            "wait", cudaErrorStreamCaptureUnsupported,
            [](cudaStream_t stream, const DeviceMemory&) { return cudaStreamSynchronize(stream); }},
        Forbidden{"wait_for_another_stream", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t, const DeviceMemory&) {
                    const Stream other;
                    return cudaStreamSynchronize(other);
                  }},
        Forbidden{"wait_for_all", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t, const DeviceMemory&) { return cudaDeviceSynchronize(); }},
        Forbidden{"question", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t stream, const DeviceMemory&) { return cudaStreamQuery(stream); }},
        Forbidden{"pageable_copy", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t stream, const DeviceMemory& memory) {
                    const char host[8] = {};
                    return cudaMemcpyAsync(memory.data(), host, 8, cudaMemcpyHostToDevice, stream);
                  }},
        Forbidden{"event_of_before", cudaErrorStreamCaptureIsolation,
                  [](cudaStream_t stream, const DeviceMemory&) {
                    const Stream other;
                    cudaEvent_t event = nullptr;
                    expect_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
                    expect_cuda(cudaEventRecord(event, other));
                    const cudaError_t code = cudaStreamWaitEvent(stream, event, 0);
                    expect_cuda(cudaEventDestroy(event));
                    return code;
                  }},
        Forbidden{"wait_for_its_event", cudaErrorStreamCaptureUnsupported,
                  [](cudaStream_t stream, const DeviceMemory&) {
                    cudaEvent_t event = nullptr;
                    expect_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
                    expect_cuda(cudaEventRecord(event, stream));
                    const cudaError_t code = cudaEventSynchronize(event);
                    expect_cuda(cudaEventDestroy(event));
                    return code;
                  }}),
    [](const auto& one) { return one.param.name; });

TEST(CudaSimGraphs, OtherThreadsGoOnWhileOneRecords) {
  const cuda_sim::Simulation simulation;
  const Stream stream, other;
  const DeviceMemory memory(64);
  const cudaGraphExec_t graph = instantiate(capture(stream, [&] {
    expect_cuda(cudaMemsetAsync(memory.data(), 1, 64, stream));
    std::thread([&] {
      const DeviceMemory its(64);
      expect_cuda(cudaMemsetAsync(its.data(), 2, 64, other));
      expect_cuda(cudaStreamSynchronize(other));
    }).join();
  }));
  expect_cuda(cudaGraphExecDestroy(graph));
}

TEST(CudaSimGraphs, OtherStreamsGetTheirTurnsBetweenTheNodes) {
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const cuda_sim::Simulation simulation({.seed = seed});
    const Stream stream, other;
    std::vector<int> order;
    const auto note = [&](cudaStream_t where, auto number) {
      expect_cuda(cudaLaunchHostFunc(
          where,
          [](void* list) {
            static_cast<std::vector<int>*>(list)->push_back(decltype(number)::value);
          },
          &order));
    };
    const cudaGraphExec_t graph = instantiate(capture(stream, [&] {
      note(stream, std::integral_constant<int, 1>());
      note(stream, std::integral_constant<int, 2>());
    }));
    expect_cuda(cudaGraphLaunch(graph, stream));
    note(other, std::integral_constant<int, 9>());
    expect_cuda(cudaDeviceSynchronize());
    expect_cuda(cudaGraphExecDestroy(graph));
    orders.insert(order);
  }
  EXPECT_EQ(orders, (std::set<std::vector<int>>{{9, 1, 2}, {1, 9, 2}, {1, 2, 9}}));
}

TEST(CudaSimGraphs, ADifferenceIsNamed) {
  const cuda_sim::Simulation simulation;
  const Stream stream;
  const DeviceMemory memory(64);
  const auto zeros = [&](int value, std::size_t bytes, int times) {
    return capture(stream, [&] {
      for (int i = 0; i < times; ++i)
        expect_cuda(cudaMemsetAsync(memory.data(), i == 1 ? value : 0, bytes, stream));
    });
  };
  const cudaGraph_t one = zeros(0, 64, 2), same = zeros(0, 64, 2), other = zeros(1, 64, 2),
                    longer = zeros(0, 64, 3);
  EXPECT_EQ(cuda_sim::difference(one, same), "");
  EXPECT_EQ(cuda_sim::difference(one, other), "node 1, a memset: operand 1 differs");
  EXPECT_EQ(cuda_sim::difference(one, longer), "2 nodes and 3");
  for (const cudaGraph_t graph : {one, same, other, longer}) expect_cuda(cudaGraphDestroy(graph));
}

}  // namespace
}  // namespace hg::test
