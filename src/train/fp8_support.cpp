#include "train/fp8_support.h"

#include "core/gpu_facts.h"
#include "train/config.h"

namespace hg {

void check_fp8(Fp8 fp8, int architecture, const std::string& gpu) {
  if (fp8 == Fp8::off) return;
  HG_CHECK(architecture >= 89,
           "training.fp8 is {}: GPUs multiply in FP8 from sm_89 on, and {} does not",
           enum_name(fp8), gpu);
  HG_CHECK(fp8 == Fp8::tensor || architecture == 90,
           "training.fp8 is block: cuBLASLt scales blocks of 128 on sm_90 alone, and not on {}; "
           "training.fp8: tensor runs there",
           gpu);
}

void check_fp8(Fp8 fp8, const GpuStream& gpu) {
  if (fp8 != Fp8::off) check_fp8(fp8, facts_of(gpu).architecture, gpu.description());
}

}  // namespace hg
