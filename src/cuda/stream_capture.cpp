#include "cuda/stream_capture.h"

#include "cuda/check.h"

namespace hg {

StreamCapture::StreamCapture(cudaStream_t stream) : stream_(stream) {
  // Other threads go on: one loads data, one may be writing a checkpoint.
  check_cuda(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal),
             "a stream that is to be recorded");
}

StreamCapture::~StreamCapture() {
  if (!recording_) return;
  cudaGraph_t dropped = nullptr;
  cudaStreamEndCapture(stream_, &dropped);
  if (dropped != nullptr) cudaGraphDestroy(dropped);
  cudaGetLastError();  // what went wrong has been said: the next launch must not find it
}

std::shared_ptr<void> StreamCapture::finish() {
  recording_ = false;
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
  if (ended != cudaSuccess) cudaGetLastError();
  check_cuda(ended, "the end of a recording");
  cudaGraphExec_t ready = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&ready, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(made, "a graph of what was recorded");
  return {ready, [stream = stream_](void* its) {
            if (cudaStreamQuery(stream) != cudaSuccess) cudaStreamSynchronize(stream);
            cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(its));
          }};
}

}  // namespace hg
