// The module that has CUDA and all kernels; see core/gpu_module.h.
#include "build_info.h"
#include "core/gpu_module.h"
#include "ops/cuda/op_table.h"

extern "C" const hg::GpuModule* headgate_gpu_module() {
  static const hg::GpuModule module = {.version = hg::GpuModule::kVersion,
                                       .build = hg::build::kRevision,
                                       .open = [](int device) -> std::shared_ptr<hg::GpuStream> {
                                         return std::make_shared<hg::CudaStream>(device,
                                                                                 hg::cuda_op);
                                       },
                                       .count = hg::gpu_count};
  return &module;
}
