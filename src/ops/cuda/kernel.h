// Where ops have their CUDA bodies. A file NAME.cu defines, for each op of ops/NAME.h,
//
//   template <> void cuda_kernel(const RmsNormForward& op, Context& ctx, cudaStream_t stream)
//
// which puts the op into the stream and returns. Operands, and what ctx.scratch hands out, are
// memory of the current device.
#pragma once

#include <cuda_runtime_api.h>

#include "core/context.h"

namespace hg {

/// Throws hg::Error if the device does not take a launch. Operands are contiguous.
template <class Op>
void cuda_kernel(const Op& op, Context& ctx, cudaStream_t stream);

}  // namespace hg
