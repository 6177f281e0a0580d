// A GPU's stream over the CUDA runtime.
#pragma once

#include <cuda_runtime_api.h>

#include "core/gpu.h"
#include "core/gpu_facts.h"
#include "core/gpu_graph.h"

namespace hg {

/// Host memory that copies to the GPU are made from: pinned, so that they go on behind the host's
/// back. Two halves by turns; what was copied from one must have left before it is used again.
class StagingMemory {
 public:
  StagingMemory() = default;
  ~StagingMemory();
  StagingMemory(const StagingMemory&) = delete;
  StagingMemory& operator=(const StagingMemory&) = delete;

  /// Enqueues a copy of at most kHalf bytes.
  void upload(void* to, const void* from, std::size_t bytes, cudaStream_t stream);

  static constexpr std::size_t kHalf = std::size_t{1} << 20;

 private:
  void make();

  std::byte* memory_ = nullptr;
  cudaEvent_t left_[2] = {};
  std::size_t used_ = 0;  // of the half in use
  std::size_t half_ = 0;  // which one that is
};

/// Puts the op that the pointer leads to into the stream.
using CudaOp = void (*)(const void* op, Context& ctx, cudaStream_t stream);
/// The kernels of an op, by its name; throws if it has none.
using CudaOps = CudaOp (*)(std::string_view name);

class CudaStream final : public GpuStream, public GpuGraphs, public GpuWithFacts {
 public:
  /// Throws if there is no such GPU.
  CudaStream(int device, CudaOps ops);
  ~CudaStream() override;

  const std::string& description() const override { return description_; }
  GpuFacts facts() const override;
  int device() const override { return device_; }
  void* handle() const override { return stream_; }

  void* allocate(std::size_t bytes) override;
  void release(void* memory) noexcept override;
  void run(std::string_view name, const void* op, Context& ctx) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void zero(void* memory, std::size_t bytes) override;
  void upload(void* to, const void* from, std::size_t bytes) override;
  void download(void* to, const void* from, std::size_t bytes) override;
  void synchronize() override;
  void watch_waits(WaitWatch watch) override { watch_ = std::move(watch); }
  std::shared_ptr<GpuStream> another() override;
  Mark mark() override;
  void wait_for(const Mark& mark) override;
  Graph record(const std::function<void()>& work) override;
  void launch(const Graph& graph, const std::function<void()>& work) override;

 private:
  /// Makes this GPU the calling thread's.
  void use() const;
  /// For what a graph would do again as it was, where it is to be otherwise each time.
  void refuse_in_graph(const char* what) const;

  int device_;
  CudaOps ops_;
  GpuFacts facts_;
  std::string description_;
  cudaStream_t stream_ = nullptr;
  StagingMemory staging_;
  WaitWatch watch_;
};

/// GPUs of this machine; throws one sentence if there is none, whatever the runtime says.
int gpu_count();

}  // namespace hg
