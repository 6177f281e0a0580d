// What matrix products reach on the machine at hand: the measured peer of gpu_specs.h.
#pragma once

#include <memory>

#include "core/cpu_info.h"
#include "core/dtype.h"
#include "core/gpu.h"

namespace hg {

/// FLOP/s of LinearForward at 2048 x 1024 x 1024 on this machine, or at 8192^3 on a GPU, the best
/// in 0.7 s.
double measure_gemm_ceiling(const CpuInfo& cpu, DType dtype,
                            const std::shared_ptr<GpuStream>& gpu = nullptr);

}  // namespace hg
