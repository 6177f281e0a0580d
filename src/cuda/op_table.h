// The kernels of ops by the ops' names: all that a GPU can run.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "core/context.h"

namespace hg {

/// Puts the op that the pointer leads to into the stream.
using CudaOp = void (*)(const void* op, Context& ctx, cudaStream_t stream);

/// Throws if no op of this name has a kernel.
CudaOp cuda_op(std::string_view name);

}  // namespace hg
