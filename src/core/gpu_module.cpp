#include "core/gpu_module.h"

#include <string_view>

#include "build_info.h"
#include "core/check.h"
#include "core/load_module.h"

namespace hg {

const GpuModule& load_gpu_module() {
  const auto& module = load_module<GpuModule>(kGpuModule, kGpuModuleSymbol, "CUDA");
  HG_CHECK(std::string_view(module.build) == build::kRevision,
           "{} was built from revision {}, this headgate from {}", kGpuModule, module.build,
           build::kRevision);
  return module;
}

}  // namespace hg
