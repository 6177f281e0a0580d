// Ranks that are threads, with a simulated device each, connected by a simulated NCCL.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>

#include "cuda_sim/simulation.h"
#include "dist/comm_nccl.h"
#include "dist/run_ranks.h"
#include "support/staged_comm.h"

extern "C" const hg::NcclApi* headgate_nccl_api();  // of the module built against the simulation

namespace hg::test {

/// A stream that is not in step with the default stream.
class Stream {
 public:
  Stream() { expect_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// A place in a stream.
class Event {
 public:
  Event() { expect_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

  cudaError_t record(cudaStream_t stream) const { return cudaEventRecord(event_, stream); }
  cudaError_t wait(cudaStream_t stream) const { return cudaStreamWaitEvent(stream, event_, 0); }
  /// What is enqueued in `later` from now on waits for what is in `earlier` now.
  void order(cudaStream_t earlier, cudaStream_t later) const {
    expect_cuda(record(earlier));
    expect_cuda(wait(later));
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// The world of all ranks on a stream of this rank's device.
inline std::unique_ptr<Comm> simulated_world(Comm& control, cudaStream_t stream) {
  return nccl_world(*headgate_nccl_api(), peers_over(control),
                    {.device = control.rank(), .stream = stream});
}

/// As run_ranks; `fn` gets a world on host memory, and its own device is the current one.
inline void run_devices(int ranks, const cuda_sim::Options& options,
                        const std::function<void(Comm& control)>& fn) {
  const cuda_sim::Simulation simulation(options);
  run_ranks(ranks, [&](Comm& control) {
    expect_cuda(cudaSetDevice(control.rank()));
    fn(control);
  });
  HG_CHECK(cuda_sim::Simulation::left_over() == 0,
           "{} allocations and streams of devices are left over",
           cuda_sim::Simulation::left_over());
}

}  // namespace hg::test
