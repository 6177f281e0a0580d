// How the program gets at GPUs: CUDA and all kernels are in a module of their own, which is loaded
// when a run asks for it. So the program starts at once, and on machines without CUDA's libraries.
#pragma once

#include <cstdint>
#include <memory>

namespace hg {

class GpuStream;

struct GpuModule {
  static constexpr std::uint32_t kVersion = 1;
  std::uint32_t version;
  /// Of the program that the module was built with: ops are passed as they lie in memory.
  const char* build;
  /// A stream of GPU `device`. Throws one sentence if there is no such GPU, or no driver.
  std::shared_ptr<GpuStream> (*open)(int device);
  /// GPUs that this process may use; throws likewise if there is none.
  int (*count)();
};

inline constexpr char kGpuModule[] = "libheadgate_cuda.so";
inline constexpr char kGpuModuleSymbol[] = "headgate_gpu_module";

/// Loads the module, and CUDA's libraries with it; throws one sentence if one of them is missing.
const GpuModule& load_gpu_module();

}  // namespace hg
