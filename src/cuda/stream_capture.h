// CUDA graphs of what is put into a stream.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>

namespace hg {

/// While it lives, the stream records what it is given, and none of it runs.
class StreamCapture {
 public:
  explicit StreamCapture(cudaStream_t stream);
  /// Drops what was recorded, unless it was taken.
  ~StreamCapture();
  StreamCapture(const StreamCapture&) = delete;
  StreamCapture& operator=(const StreamCapture&) = delete;

  /// Ends the recording: a cudaGraphExec_t. Whoever drops the last reference waits for the stream.
  /// Throws if something came that cannot be recorded.
  std::shared_ptr<void> finish();

 private:
  cudaStream_t stream_;
  bool recording_ = true;
};

}  // namespace hg
