#include "train/predict/gpu_specs.h"

#include <algorithm>
#include <cctype>

#include "core/check.h"

namespace hg {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9;

// NVIDIA's data sheets of the A100 80GB SXM, H100 SXM, H200 SXM and of the B200 in an HGX; half of
// the bidirectional NVLink bandwidth. Networks as such nodes are usually built: one adapter of 200
// or 400 Gbit/s for each GPU.
constexpr GpuSpecs kSpecs[] = {
    {.name = "a100",
     .architecture = 80,
     .bf16_flops = 312 * kTera,
     .fp8_flops = 0,
     .f32_flops = 19.5 * kTera,
     .memory_speed = 2039 * kGiga,
     .memory = 80 * kGiga,
     .link_speed = 300 * kGiga,
     .network_speed = 25 * kGiga,
     .in_node = 8},
    {.name = "h100",
     .architecture = 90,
     .bf16_flops = 989 * kTera,
     .fp8_flops = 1979 * kTera,
     .f32_flops = 67 * kTera,
     .memory_speed = 3350 * kGiga,
     .memory = 80 * kGiga,
     .link_speed = 450 * kGiga,
     .network_speed = 50 * kGiga,
     .in_node = 8},
    {.name = "h200",
     .architecture = 90,
     .bf16_flops = 989 * kTera,
     .fp8_flops = 1979 * kTera,
     .f32_flops = 67 * kTera,
     .memory_speed = 4800 * kGiga,
     .memory = 141 * kGiga,
     .link_speed = 450 * kGiga,
     .network_speed = 50 * kGiga,
     .in_node = 8},
    {.name = "b200",
     .architecture = 100,
     .bf16_flops = 2250 * kTera,
     .fp8_flops = 4500 * kTera,
     .f32_flops = 75 * kTera,
     .memory_speed = 7700 * kGiga,
     .memory = 180 * kGiga,
     .link_speed = 900 * kGiga,
     .network_speed = 50 * kGiga,
     .in_node = 8},
};

std::string in_lower_case(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

}  // namespace

std::span<const GpuSpecs> gpu_specs() { return kSpecs; }

const GpuSpecs* specs_of(std::string_view description) {
  const std::string lower = in_lower_case(description);
  // Of the same names, with other speeds: "H100 PCIe", "H100 NVL", "GB200", "GH200".
  for (const char* other : {"pcie", "nvl", "gb2", "gh2"})
    if (lower.find(other) != std::string::npos) return nullptr;
  const auto* const found = std::ranges::find_if(
      kSpecs, [&](const GpuSpecs& specs) { return lower.find(specs.name) != std::string::npos; });
  return found == std::end(kSpecs) ? nullptr : found;
}

const GpuSpecs& gpu_specs(const std::string& name) {
  const auto* const found = std::ranges::find(kSpecs, in_lower_case(name), &GpuSpecs::name);
  if (found != std::end(kSpecs)) return *found;
  std::string known;
  for (const GpuSpecs& specs : kSpecs)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", specs.name);
  fail("no GPU '{}' is known, expected one of {}", name, known);
}

}  // namespace hg
