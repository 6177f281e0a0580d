// The only header through which device code reaches the machine. nvcc compiles kernels for GPUs; a
// C++ compiler compiles the same source for the tests' simulation (docs/cuda.md). So kernels use
// what this header and cuda/ptx.h give, and CUDA's built-ins; never <<<>>>, asm or __shared__.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#else
#include "cuda_sim/builtins.h"
#endif

#include <source_location>
#include <string>

#include "core/check.h"

#if defined(__CUDACC__)
#define HG_DEVICE __device__ __forceinline__
/// HG_SHARED(float, sums, [8]): an array in the block's shared memory.
#define HG_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
/// HG_DYN_SHARED(memory): the shared memory whose size the launch says, 128-byte aligned.
#define HG_DYN_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#else
#define HG_DEVICE inline __attribute__((always_inline))
#define HG_SHARED(type, name, ...)                                    \
  using Shared_##name = type __VA_ARGS__;                             \
  static constexpr char key_of_##name = 0;                            \
  auto& name = *static_cast<Shared_##name*>(::cuda_sim::shared_array( \
      &key_of_##name, sizeof(Shared_##name), ::cuda_sim::Where::current()))
#define HG_DYN_SHARED(name) \
  auto* const name = static_cast<unsigned char*>(::cuda_sim::dynamic_shared_array())
#endif

namespace hg {

/// A stream, and the place that launches something into it.
struct LaunchStream {
  cudaStream_t stream;
  std::source_location where;
  LaunchStream(cudaStream_t its_stream,
               std::source_location its_where = std::source_location::current())
      : stream(its_stream), where(its_where) {}
};

/// Runs kernel(arguments...) behind what is in the stream. Throws hg::Error with the place and the
/// launch's sizes if the device does not take it; what fails later shows when the stream is waited
/// for.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, std::size_t shared_bytes,
            LaunchStream stream, Arguments... arguments) {
#if defined(__CUDACC__)
  constexpr std::size_t kWithoutAsking = 48 << 10;
  cudaError_t code = cudaSuccess;
  if (shared_bytes > kWithoutAsking) {
    code = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                static_cast<int>(shared_bytes));
  }
  if (code == cudaSuccess) {
    kernel<<<grid, block, shared_bytes, stream.stream>>>(static_cast<Parameters>(arguments)...);
    code = cudaGetLastError();
  }
#else
  const cudaError_t code =
      ::cuda_sim::launch(stream.stream, grid, block, shared_bytes,
                         ::cuda_sim::call(kernel, static_cast<Parameters>(arguments)...));
#endif
  HG_CHECK(code == cudaSuccess,
           "{}:{}: a kernel of {}x{}x{} blocks of {}x{}x{} threads with {} bytes of shared memory "
           "was not launched: {}",
           stream.where.file_name(), stream.where.line(), grid.x, grid.y, grid.z, block.x, block.y,
           block.z, shared_bytes, std::string(cudaGetErrorString(code)));
}

}  // namespace hg
