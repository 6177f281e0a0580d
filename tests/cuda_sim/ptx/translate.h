// Runs kernels on what nvcc made of them: PTX.
#pragma once

#include "cuda_sim/kernel.h"

namespace cuda_sim::ptx {

/// The PTX files of the tested architecture: that of $HEADGATE_PTX, else sm_90.
std::vector<std::string> ptx_files();

/// A body that interprets the kernel's PTX. Throws hg::Error if there is none, or if it has an
/// instruction that is not implemented. For cuda_sim::translate.
std::function<void()> interpret(const Call& call);

}  // namespace cuda_sim::ptx
