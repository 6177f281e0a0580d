// The kernels of ops by the ops' names: all that a GPU can run.
#pragma once

#include "cuda/stream.h"

namespace hg {

/// Throws if no op of this name has a kernel.
CudaOp cuda_op(std::string_view name);

}  // namespace hg
