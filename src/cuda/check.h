// Errors of the CUDA runtime as ours.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/check.h"

namespace hg {

/// Throws with CUDA's words if `code` is an error; `what` says what was asked for.
inline void check_cuda(cudaError_t code, const char* what) {
  // As a string: what a formatter does at compile time, nvcc does not take.
  HG_CHECK(code == cudaSuccess, "GPU: {}: {}", what, std::string(cudaGetErrorString(code)));
}

}  // namespace hg
