// Memory filled with zeros. Only for .cu files.
#pragma once

#include "core/tensor.h"
#include "cuda/check.h"
#include "cuda/device.h"

namespace hg {
namespace {

/// y = 0, behind what is in the stream; y is contiguous.
inline void zero(const Tensor& y, cudaStream_t stream) {
  if (y.numel() == 0) return;
  check_cuda(cudaMemsetAsync(y.data(), 0, static_cast<std::size_t>(y.bytes()), stream), "zeros");
}

}  // namespace
}  // namespace hg
