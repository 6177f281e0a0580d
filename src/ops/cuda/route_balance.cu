// CUDA bodies of what keeps the loads of experts even (ops/route.h): there are a few numbers for
// each expert.
#include "ops/cuda/kernel.h"
#include "ops/cuda/vectors.h"
#include "ops/route.h"

namespace hg {
namespace {

constexpr int kThreads = 256;

/// An expert a thread.
__global__ void __launch_bounds__(kThreads)
    add_loads(int* __restrict__ loads, const int* __restrict__ counts, int rows, int experts) {
  const int e = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  if (e >= experts) return;
  int sum = loads[e];
  for (std::int64_t s = 0; s < rows; ++s) sum += counts[s * experts + e];
  loads[e] = sum;
}

/// The sum of a row, in all threads of the block.
HG_DEVICE long long total_of(const int* row, int experts, long long* partial) {
  long long total = 0;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads) total += row[e];
  return row_sum(total, partial);
}

/// A row a block.
__global__ void __launch_bounds__(kThreads)
    router_balance(float* __restrict__ balance, const int* __restrict__ counts, int experts,
                   float coefficient) {
  HG_SHARED(long long, partial, [kThreads / 32]);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * experts;
  const long long total = total_of(counts + row, experts, partial);
  const double scale =
      total > 0 ? static_cast<double>(coefficient) * experts / static_cast<double>(total) : 0.0;
  for (int e = static_cast<int>(threadIdx.x); e < experts; e += kThreads)
    balance[row + e] = static_cast<float>(scale * counts[row + e]);
}

/// One block. Each thread reads again what it wrote itself.
__global__ void __launch_bounds__(kThreads)
    update_bias(float* bias, const int* __restrict__ loads, int experts, float rate) {
  HG_SHARED(long long, totals, [kThreads / 32]);
  HG_SHARED(double, sums, [kThreads / 32]);
  const int thread = static_cast<int>(threadIdx.x);
  const long long total = total_of(loads, experts, totals);
  double sum = 0;
  for (int e = thread; e < experts; e += kThreads) {
    const long long missing =  // integers: an even load stays put
        total - static_cast<long long>(loads[e]) * experts;
    const float b = bias[e] + rate * static_cast<float>((missing > 0) - (missing < 0));
    sum += static_cast<double>(b);
    bias[e] = b;
  }
  const auto mean = static_cast<float>(row_sum(sum, sums) / experts);
  for (int e = thread; e < experts; e += kThreads) bias[e] -= mean;
}

}  // namespace

template <>
void cuda_kernel(const RouterLoads& op, Context&, cudaStream_t stream) {
  const auto experts = static_cast<int>(op.loads.dim(0));
  launch(add_loads, dim3(static_cast<unsigned>((experts + kThreads - 1) / kThreads)),
         dim3(kThreads), 0, stream, op.loads.as<std::int32_t>(), op.counts.as<std::int32_t>(),
         static_cast<int>(op.counts.dim(0)), experts);
}

template <>
void cuda_kernel(const RouterBalance& op, Context&, cudaStream_t stream) {
  if (op.counts.numel() == 0) return;
  launch(router_balance, dim3(static_cast<unsigned>(op.counts.dim(0))), dim3(kThreads), 0, stream,
         op.balance.as<float>(), op.counts.as<std::int32_t>(), static_cast<int>(op.counts.dim(1)),
         op.coefficient);
}

template <>
void cuda_kernel(const RouterBiasUpdate& op, Context&, cudaStream_t stream) {
  launch(update_bias, dim3(1), dim3(kThreads), 0, stream, op.bias.as<float>(),
         op.loads.as<std::int32_t>(), static_cast<int>(op.bias.dim(0)), op.rate);
}

}  // namespace hg
