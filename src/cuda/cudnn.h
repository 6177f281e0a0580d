// Plans of cuDNN for graphs of attention. libcudnn is loaded at run time; where headgate was built
// without it, or it is not there, there are none.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>

#include "cuda/sdpa_graph.h"

namespace hg {

/// The memory of a graph's operands, by SdpaOperand: of the device, but for scalars.
using SdpaMemory = std::array<const void*, static_cast<std::size_t>(SdpaOperand::count)>;

/// Kernels for one graph.
class CudnnPlan {
 public:
  struct State;
  explicit CudnnPlan(std::unique_ptr<State> state);
  CudnnPlan(CudnnPlan&&) noexcept;
  ~CudnnPlan();

  std::int64_t workspace() const;  ///< bytes that `run` needs

  /// Puts the kernels into the stream. Throws hg::Error with cuDNN's words if it does not take
  /// them.
  void run(const SdpaMemory& memory, void* workspace, cudaStream_t stream) const;

 private:
  std::unique_ptr<State> state_;
};

/// cuDNN for one device.
class Cudnn {
 public:
  /// For the current device; or for one that is not here, whose `properties` are as cuDNN writes
  /// them: such plans do not run. Throws hg::Error with the reason if there is no cuDNN.
  explicit Cudnn(const std::string& properties = {});
  ~Cudnn();

  int version() const;       ///< 91900 is 9.19.0
  int architecture() const;  ///< 90 is sm_90

  /// With kernels that sum dq `in_order`, if cuDNN has such for the device; a graph without
  /// SdpaOperand::dq_sum leaves them no choice. Throws hg::Error with the reason, mostly in cuDNN's
  /// words, if it has no kernels for this graph with at most `workspace` bytes.
  CudnnPlan plan(const SdpaGraph& graph, bool in_order, std::int64_t workspace) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hg
