// What this processor can do, and which kernels follow from it.
#pragma once

#include <string>
#include <string_view>

namespace hg {

/// Instruction sets that kernels are compiled for, each including the ones before it. avx2 means
/// x86-64-v3 (AVX2, FMA, F16C), avx512 x86-64-v4 (F, BW, CD, DQ, VL).
enum class Isa { avx2, avx512 };

struct CpuInfo {
  std::string model;         ///< as the processor names itself
  Isa isa = Isa::avx2;       ///< kernels to run
  bool avx512_bf16 = false;  ///< bf16 dot products; on most chips no faster than f32
  bool amx_bf16 = false;     ///< bf16 matrix tiles, and this process may use them

  std::string to_string() const;  ///< "AVX-512, AMX-BF16"
};

/// Asks the processor and the operating system; requests AMX for this process. HEADGATE_ISA = avx2,
/// avx512 or amx caps what is reported (and oneDNN likewise). Throws if AVX2 is missing or the
/// variable's value is unknown.
CpuInfo detect_cpu();

}  // namespace hg
