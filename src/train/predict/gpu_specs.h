// What GPUs are said to do by those who make them: dense, without sparsity, for one GPU.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace hg {

struct GpuSpecs {
  std::string_view name;
  int architecture;      ///< 90 is sm_90
  double bf16_flops;     ///< of tensor cores, per second, f32 accumulation
  double fp8_flops;      ///< likewise; 0: it has none
  double f32_flops;      ///< of everything else
  double memory_speed;   ///< bytes per second
  double memory;         ///< bytes
  double link_speed;     ///< to the others of its node, bytes per second, one way
  double network_speed;  ///< to other nodes, likewise
  int in_node;           ///< GPUs of a node
};

/// All that are known.
std::span<const GpuSpecs> gpu_specs();
/// Of the GPU that calls itself so, "NVIDIA H100 80GB HBM3"; null if it is none of them.
const GpuSpecs* specs_of(std::string_view description);
/// Throws with the names that are known if this is none of them.
const GpuSpecs& gpu_specs(const std::string& name);

}  // namespace hg
