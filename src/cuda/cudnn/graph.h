// Our graphs as descriptors of cuDNN.
#pragma once

#include <list>
#include <vector>

#include "cuda/cudnn/library.h"
#include "cuda/sdpa_graph.h"

namespace hg {

/// A finished graph of operations, and all that it refers to.
class CudnnGraph {
 public:
  /// Throws with cuDNN's words if it does not take an operation.
  CudnnGraph(const CudnnLibrary& library, const SdpaGraph& graph);

  const CudnnDescriptor& operations() const { return *operations_; }

  /// What a tensor of the graph is called when it runs.
  static std::int64_t id_of(std::size_t tensor) { return static_cast<std::int64_t>(tensor) + 1; }

 private:
  CudnnDescriptor& make(cudnnBackendDescriptorType_t type);
  void add_tensor(const SdpaGraph::Tensor& its, std::size_t index);
  void add_pointwise(const SdpaGraph::Node& node);
  void add_product(const SdpaGraph::Node& node);
  void add_reduction(const SdpaGraph::Node& node);
  void add_reshape(const SdpaGraph::Node& node);
  const CudnnDescriptor& tensor(int index) const {
    return *tensors_[static_cast<std::size_t>(index)];
  }

  const CudnnLibrary& library_;
  std::list<CudnnDescriptor> made_;
  std::vector<const CudnnDescriptor*> tensors_;
  std::vector<cudnnBackendDescriptor_t> nodes_;
  const CudnnDescriptor* operations_;
};

}  // namespace hg
