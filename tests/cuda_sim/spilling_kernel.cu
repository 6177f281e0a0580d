// A kernel that holds more values than a thread has registers: the build has to refuse it.
#include "cuda/device.h"

namespace hg {

constexpr int kValues = 128;  // a thread of 1024 has 64 registers

__global__ void __launch_bounds__(1024) reverse_columns(float* x) {
  float values[kValues];
  float* const column = x + threadIdx.x;
#pragma unroll
  for (int i = 0; i < kValues; ++i) values[i] = column[i * 1024];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kValues; ++i) column[i * 1024] = values[kValues - 1 - i];
}

}  // namespace hg
