// Which GPUs multiply in FP8 as a config asks them to.
#pragma once

#include <string>

#include "core/dtype.h"
#include "core/gpu.h"

namespace hg {

/// Throws unless a GPU of this architecture, 90 for sm_90, does; `gpu` names it.
void check_fp8(Fp8 fp8, int architecture, const std::string& gpu);
void check_fp8(Fp8 fp8, const GpuStream& gpu);

}  // namespace hg
