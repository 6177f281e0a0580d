// Runs kernels on what nvcc made of them: PTX.
#pragma once

#include "cuda_sim/kernel.h"

namespace cuda_sim::ptx {

/// A body that interprets the kernel's PTX, from HEADGATE_PTX_FOLDER. Throws hg::Error if there is
/// none, or if it has an instruction that is not implemented. For cuda_sim::translate.
std::function<void()> interpret(const Call& call);

}  // namespace cuda_sim::ptx
