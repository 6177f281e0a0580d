#include "core/gpu_facts.h"

#include "core/check.h"
#include "core/gpu.h"

namespace hg {

GpuFacts facts_of(const GpuStream& gpu) {
  const auto* its = dynamic_cast<const GpuWithFacts*>(&gpu);
  HG_CHECK(its != nullptr, "GPU {} does not say what it is", gpu.device());
  return its->facts();
}

}  // namespace hg
