// Simulated graphs of several streams, and of calls of NCCL: their nodes are in no order but that
// of their edges, and what real ones forbid fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cuda_sim/graphs.h"
#include "support/nccl_ranks.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

cudaError_t begin(cudaStream_t stream) {
  return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
}

cudaError_t end(cudaStream_t stream, cudaGraphExec_t* ready) {
  cudaGraph_t graph = nullptr;
  if (const cudaError_t code = cudaStreamEndCapture(stream, &graph)) return code;
  expect_cuda(cudaGraphInstantiate(ready, graph, 0));
  expect_cuda(cudaGraphDestroy(graph));
  return cudaSuccess;
}

/// Puts a number into a list, when it is its turn.
template <int number>
void note(cudaStream_t stream, std::vector<int>& list) {
  expect_cuda(cudaLaunchHostFunc(
      stream, [](void* its) { static_cast<std::vector<int>*>(its)->push_back(number); }, &list));
}

/// All orders that some seeds give to 1 in one stream, 2 and 3 in another, and 4 behind what the
/// first has waited for; in a graph of both.
std::set<std::vector<int>> orders(bool forks_behind_one, bool waits_for_three) {
  std::set<std::vector<int>> orders;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    const cuda_sim::Simulation simulation({.seed = seed});
    const Stream stream, other;
    const Event fork, middle, join;
    std::vector<int> order;
    expect_cuda(begin(stream));
    if (!forks_behind_one) fork.order(stream, other);
    note<1>(stream, order);
    if (forks_behind_one) fork.order(stream, other);
    note<2>(other, order);
    expect_cuda(middle.record(other));
    note<3>(other, order);
    expect_cuda(join.record(other));
    expect_cuda((waits_for_three ? join : middle).wait(stream));
    note<4>(stream, order);
    expect_cuda(join.wait(stream));
    cudaGraphExec_t graph = nullptr;
    expect_cuda(end(stream, &graph));
    for (int launch = 0; launch < 2; ++launch) {
      order.clear();
      expect_cuda(cudaGraphLaunch(graph, stream));
      note<5>(stream, order);
      expect_cuda(cudaStreamSynchronize(stream));
      orders.insert(order);
    }
    expect_cuda(cudaGraphExecDestroy(graph));
  }
  return orders;
}

TEST(CudaSimGraphBranches, AreInTheOrderOfTheirEdgesAlone) {
  EXPECT_EQ(orders(true, true), (std::set<std::vector<int>>{{1, 2, 3, 4, 5}}));
  EXPECT_EQ(orders(false, true),
            (std::set<std::vector<int>>{{1, 2, 3, 4, 5}, {2, 1, 3, 4, 5}, {2, 3, 1, 4, 5}}));
  EXPECT_EQ(orders(true, false), (std::set<std::vector<int>>{{1, 2, 3, 4, 5}, {1, 2, 4, 3, 5}}));
}

TEST(CudaSimGraphBranches, AStreamIsAsItWasBehindTheRecording) {
  const cuda_sim::Simulation simulation;
  const Stream stream, other;
  const Event fork, join;
  std::vector<int> order;
  expect_cuda(begin(stream));
  fork.order(stream, other);
  note<1>(other, order);
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  expect_cuda(cudaStreamIsCapturing(other, &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  join.order(other, stream);
  cudaGraphExec_t graph = nullptr;
  expect_cuda(end(stream, &graph));
  expect_cuda(cudaStreamIsCapturing(other, &status));
  EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  note<2>(other, order);
  expect_cuda(cudaDeviceSynchronize());
  EXPECT_EQ(order, std::vector<int>{2});
  expect_cuda(cudaGraphExecDestroy(graph));
}

TEST(CudaSimGraphBranches, MustBeJoined) {
  const cuda_sim::Simulation simulation;
  const Stream stream, other;
  const Event fork, join;
  std::vector<int> order;
  for (const bool late : {false, true}) {
    expect_cuda(begin(stream));
    fork.order(stream, other);
    if (late) join.order(other, stream);  // but for what comes now
    note<1>(other, order);
    cudaGraphExec_t graph = nullptr;
    EXPECT_EQ(end(stream, &graph), cudaErrorStreamCaptureUnjoined);
    EXPECT_EQ(graph, nullptr);
  }
  note<2>(other, order);  // as if there had been no recording
  expect_cuda(cudaDeviceSynchronize());
  EXPECT_EQ(order, std::vector<int>{2});
}

TEST(CudaSimGraphBranches, EndWhereTheyBegan) {
  const cuda_sim::Simulation simulation;
  const Stream stream, other;
  const Event fork;
  expect_cuda(begin(stream));
  fork.order(stream, other);
  cudaGraphExec_t graph = nullptr;
  EXPECT_EQ(end(other, &graph), cudaErrorStreamCaptureUnmatched);
  EXPECT_EQ(end(stream, &graph), cudaErrorStreamCaptureInvalidated);
}

TEST(CudaSimGraphBranches, NobodyWaitsForWhatIsNotInHisRecording) {
  const cuda_sim::Simulation simulation;
  const Stream stream, other, third;
  const Event before, inside, fork;
  expect_cuda(before.record(other));
  cudaGraphExec_t graph = nullptr;
  expect_cuda(begin(stream));
  EXPECT_EQ(before.wait(stream), cudaErrorStreamCaptureIsolation);
  EXPECT_EQ(end(stream, &graph), cudaErrorStreamCaptureInvalidated);

  expect_cuda(begin(stream));
  fork.order(stream, other);
  EXPECT_EQ(before.wait(other), cudaErrorStreamCaptureIsolation) << "nor does one that has joined";
  EXPECT_EQ(end(stream, &graph), cudaErrorStreamCaptureInvalidated);

  expect_cuda(begin(stream));
  expect_cuda(inside.record(stream));
  expect_cuda(end(stream, &graph));
  EXPECT_EQ(inside.wait(third), cudaErrorCapturedEvent);
  EXPECT_THAT(cuda_sim::Simulation::explanation(), HasSubstr("a recording that has ended"));
  expect_cuda(cudaGraphExecDestroy(graph));
}

TEST(CudaSimGraphBranches, ADifferenceOfEdgesIsNamed) {
  const cuda_sim::Simulation simulation;
  const Stream stream, other;
  const Event fork, join;
  std::vector<int> order;
  const auto record = [&](bool early) {
    expect_cuda(begin(stream));
    if (early) fork.order(stream, other);
    note<1>(stream, order);
    if (!early) fork.order(stream, other);
    note<2>(other, order);
    join.order(other, stream);
    cudaGraph_t graph = nullptr;
    expect_cuda(cudaStreamEndCapture(stream, &graph));
    return graph;
  };
  const cudaGraph_t one = record(true), same = record(true), another = record(false);
  EXPECT_EQ(cuda_sim::difference(one, same), "");
  EXPECT_EQ(cuda_sim::difference(one, another), "node 1 stands behind other nodes");
  for (const cudaGraph_t graph : {one, same, another}) expect_cuda(cudaGraphDestroy(graph));
}

constexpr std::int64_t kCount = 100;

/// A rank with ones in its memory, which a stream adds up over all while another one waits.
struct Summing {
  explicit Summing(Comm& control) : world(simulated_world(control, transfer)) { fill(1); }

  void fill(float value) const {
    const std::vector<float> values(kCount, value);
    expect_cuda(cudaMemcpy(memory.data(), values.data(), kBytes, cudaMemcpyHostToDevice));
  }
  float first() const {
    float value = 0;
    expect_cuda(cudaDeviceSynchronize());
    expect_cuda(cudaMemcpy(&value, memory.data(), sizeof value, cudaMemcpyDeviceToHost));
    return value;
  }
  /// Behind what is in the stream, which goes on behind it.
  void sum() const {
    fork.order(stream, transfer);
    world->all_reduce(Tensor(memory.data(), DType::f32, {kCount}), Reduce::sum);
    join.order(transfer, stream);
  }
  cudaGraphExec_t graph_of_sum() const {
    cudaGraphExec_t graph = nullptr;
    expect_cuda(begin(stream));
    sum();
    expect_cuda(end(stream, &graph));
    return graph;
  }

  static constexpr std::int64_t kBytes = kCount * std::int64_t{sizeof(float)};
  const Stream stream, transfer;
  const Event fork, join;
  const DeviceMemory memory{kBytes};
  const std::unique_ptr<Comm> world;
};

TEST(CudaSimGraphsOfNccl, DoTheCallsAgainAtEveryLaunchAmongOthers) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    run_devices(4, {.devices = 4, .seed = seed}, [](Comm& control) {
      const Summing its(control);
      const cudaGraphExec_t graph = its.graph_of_sum();
      HG_CHECK(its.first() == 1, "nothing is sent while it is recorded: {}", its.first());
      expect_cuda(cudaGraphLaunch(graph, its.stream));
      its.sum();
      expect_cuda(cudaGraphLaunch(graph, its.stream));
      HG_CHECK(its.first() == 64, "{}", its.first());
      expect_cuda(cudaGraphExecDestroy(graph));
    });
  }
}

/// What goes wrong when ranks do as `act` says.
std::string failure(const std::function<void(Summing&, int rank)>& act) {
  try {
    run_devices(2, {.devices = 2, .nccl_timeout = 2}, [&](Comm& control) {
      Summing its(control);
      act(its, control.rank());
      its.world->barrier();
    });
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(CudaSimGraphsOfNccl, AreGraphsOnAllRanks) {
  const std::string sentence = failure([](Summing& its, int rank) {
    const cudaGraphExec_t graph = its.graph_of_sum();
    if (rank == 0) its.sum();
    if (rank == 1) expect_cuda(cudaGraphLaunch(graph, its.stream));
    cudaDeviceSynchronize();
    expect_cuda(cudaGraphExecDestroy(graph));
  });
  EXPECT_THAT(sentence, HasSubstr("rank 0 calls AllReduce of 100 float32, rank 1 calls AllReduce "
                                  "of 100 float32, recorded as number 1"));
}

TEST(CudaSimGraphsOfNccl, AreTheSameOnesOnAllRanks) {
  const std::string sentence = failure([](Summing& its, int rank) {
    const cudaGraphExec_t graphs[] = {its.graph_of_sum(), its.graph_of_sum()};
    expect_cuda(cudaGraphLaunch(graphs[rank], its.stream));
    cudaDeviceSynchronize();
    for (const cudaGraphExec_t graph : graphs) expect_cuda(cudaGraphExecDestroy(graph));
  });
  EXPECT_THAT(sentence, HasSubstr("recorded as number 2"));
}

TEST(CudaSimGraphsOfNccl, GoBeforeTheirCommunicator) {
  const std::string sentence = failure([&](Summing& its, int) {
    its.graph_of_sum();
    its.world->barrier();
  });
  EXPECT_THAT(sentence, HasSubstr("left over"));
}

}  // namespace
}  // namespace hg::test
