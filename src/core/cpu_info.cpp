#include "core/cpu_info.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>

#include "core/check.h"

namespace hg {
namespace {

std::string brand_string() {
  std::array<unsigned, 12> words{};
  for (unsigned leaf = 0; leaf < 3; ++leaf) {
    unsigned* w = words.data() + leaf * 4;
    if (__get_cpuid(0x80000002U + leaf, w, w + 1, w + 2, w + 3) == 0) return "unknown processor";
  }
  std::array<char, sizeof(words) + 1> text{};
  std::memcpy(text.data(), words.data(), sizeof(words));
  return text.data();
}

/// Linux hands out the 8 KB of tile state only to processes that ask for it.
bool request_amx_tiles() {
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
}

bool cpuid_has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1U) != 0 && (d >> 24 & 1U) != 0;
}

}  // namespace

std::string CpuInfo::to_string() const {
  std::string text = isa == Isa::avx512 ? "AVX-512" : "AVX2";
  if (avx512_bf16) text += ", AVX512-BF16";
  if (amx_bf16) text += ", AMX-BF16";
  return text;
}

CpuInfo detect_cpu() {
  HG_CHECK(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"),
           "this processor ({}) lacks AVX2 or FMA, which headgate needs", brand_string());
  CpuInfo info{.model = brand_string()};
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  const char* variable = std::getenv("HEADGATE_ISA");
  const std::string_view cap = variable != nullptr ? variable : "amx";
  HG_CHECK(cap == "avx2" || cap == "avx512" || cap == "amx",
           "HEADGATE_ISA is '{}', expected avx2, avx512 or amx", cap);
  if (!avx512 || cap == "avx2") return info;
  info.isa = Isa::avx512;
  info.avx512_bf16 = __builtin_cpu_supports("avx512bf16");
  info.amx_bf16 = info.avx512_bf16 && cap == "amx" && cpuid_has_amx_bf16() && request_amx_tiles();
  return info;
}

}  // namespace hg
