// CUDA bodies of ops/inspect_gate.h: one visit of the logits gives the scores and all statistics
// but the quantiles, which are found for every head, and for all together, after that. What blocks
// add up in no fixed order are integers.
#include "ops/inspect_gate.h"

#include "ops/cuda/activation.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/quantiles.h"

namespace hg {
namespace {

constexpr int kThreads = 256, kBins = GateScores::kBins;
constexpr int kTokens = 256;  // of a block
using Statistic = GateScores::Statistic;

/// What is counted of a head: scores in bins, and those below and above limits.
enum Count {
  kBelow005 = kBins,
  kBelow01,
  kBelow05,
  kAbove095,
  kNaN,
  kLargest,  ///< the bits of the largest |logit|
  kCounts
};

__global__ void clear(unsigned* counts) { counts[blockIdx.x * kCounts + threadIdx.x] = 0; }

/// kTokens tokens of a head a block, blockDim.y of them at a time.
template <class T>
__global__ void __launch_bounds__(kThreads)
    measure(float* __restrict__ scores, float* __restrict__ sums, unsigned* __restrict__ counts,
            Heads<const T> logits, HeadCount heads, std::int64_t tokens, int elements,
            std::int64_t stride, Activation activation, float scale) {
  HG_SHARED(unsigned, own, [kCounts]);
  const unsigned of_token = heads.groups * heads.of_group, head = blockIdx.x % of_token;
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  if (thread < kCounts) own[thread] = 0;
  __syncthreads();
  unsigned below_005 = 0, below_01 = 0, below_05 = 0, above_095 = 0, nans = 0;
  float largest = 0;
  const std::int64_t begin = blockIdx.x / of_token * std::int64_t{kTokens};
  for (int k = 0; k < kTokens; k += static_cast<int>(blockDim.y)) {
    const std::int64_t t = begin + k + threadIdx.y;
    const bool there = t < tokens;
    const T* row = logits[{there ? static_cast<unsigned>(t) : 0, head / heads.of_group,
                           head % heads.of_group}];
    float sum = 0;
    for (int e = static_cast<int>(threadIdx.x); there && e < elements;
         e += static_cast<int>(blockDim.x)) {
      const float logit = to_f32(row[e * stride]), s = scale * activate(activation, logit);
      scores[(head * tokens + t) * elements + e] = s;
      sum += s;
      largest = fmaxf(largest, fabsf(logit));  // passes over NaN
      below_005 += s < 0.05F ? 1 : 0;
      below_01 += s < 0.1F ? 1 : 0;
      below_05 += s < 0.5F ? 1 : 0;
      above_095 += s > 0.95F ? 1 : 0;
      nans += s != s ? 1 : 0;
      if (s == s) atomicAdd(&own[static_cast<int>(fminf(kBins - 1, fmaxf(0, s * kBins)))], 1U);
    }
    sum = lanes_sum(sum);
    if (there && threadIdx.x == 0) sums[head * tokens + t] = sum;
  }
  atomicAdd(&own[kBelow005], below_005);
  atomicAdd(&own[kBelow01], below_01);
  atomicAdd(&own[kBelow05], below_05);
  atomicAdd(&own[kAbove095], above_095);
  atomicAdd(&own[kNaN], nans);
  atomicMax(&own[kLargest], __float_as_uint(largest));
  __syncthreads();
  if (thread >= kCounts || own[thread] == 0) return;
  unsigned* const whole = &counts[head * kCounts + thread];
  if (thread == kLargest) {
    atomicMax(whole, own[thread]);
  } else {
    atomicAdd(whole, own[thread]);
  }
}

/// Everything of a head but its quantiles, a head a block.
__global__ void __launch_bounds__(kThreads)
    finish_heads(float* __restrict__ statistics, float* __restrict__ histogram,
                 const float* __restrict__ sums, const unsigned* __restrict__ counts,
                 std::int64_t tokens, int elements) {
  HG_SHARED(double, partial, [kThreads / 32]);
  const unsigned head = blockIdx.x;
  const unsigned* its = counts + head * kCounts;
  double sum = 0;
  for (std::int64_t t = threadIdx.x; t < tokens; t += kThreads)
    sum += static_cast<double>(sums[head * tokens + t]);
  sum = row_sum(sum, partial);
  if (threadIdx.x < kBins)
    histogram[head * kBins + threadIdx.x] = static_cast<float>(its[threadIdx.x]);
  if (threadIdx.x > 0) return;
  const double total = static_cast<double>(tokens) * elements;
  float* row = statistics + head * GateScores::kStatistics;
  row[Statistic::kMean] = static_cast<float>(sum / total);
  row[Statistic::kShareBelow005] = static_cast<float>(its[kBelow005] / total);
  row[Statistic::kShareBelow01] = static_cast<float>(its[kBelow01] / total);
  row[Statistic::kShareBelow05] = static_cast<float>(its[kBelow05] / total);
  row[Statistic::kShareAbove095] = static_cast<float>(its[kAbove095] / total);
  row[Statistic::kLargestLogit] = its[kNaN] > 0 ? nanf("") : __uint_as_float(its[kLargest]);
}

/// Whether `column` is no quantile.
HG_DEVICE bool measured(int column) {
  return column < Statistic::kQuantile01 || column > Statistic::kQuantile99;
}

/// The last row but for its quantiles, a column a thread. Heads have equally many scores.
__global__ void pool_heads(float* __restrict__ statistics, unsigned heads) {
  const int column = static_cast<int>(threadIdx.x);
  if (!measured(column)) return;
  double sum = 0;
  float largest = 0;
  for (unsigned head = 0; head < heads; ++head) {
    const float value = statistics[head * GateScores::kStatistics + column];
    sum += static_cast<double>(value);
    largest = fmaxf(largest, value);
  }
  statistics[heads * GateScores::kStatistics + column] =
      column == Statistic::kLargestLogit && sum == sum ? largest : static_cast<float>(sum / heads);
}

/// A token a thread.
__global__ void __launch_bounds__(kThreads)
    average_tokens(float* __restrict__ means, const float* __restrict__ sums, unsigned heads,
                   std::int64_t tokens, int elements) {
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (t >= tokens) return;
  double sum = 0;
  for (unsigned head = 0; head < heads; ++head) sum += static_cast<double>(sums[head * tokens + t]);
  means[t] = static_cast<float>(sum / (static_cast<double>(heads) * elements));
}

/// A row a block, a quantile a thread.
__global__ void write_quantiles(float* __restrict__ statistics,
                                const WantedKeys* __restrict__ found, std::int64_t of_head) {
  const std::int64_t count = blockIdx.x + 1 == gridDim.x ? of_head * blockIdx.x : of_head;
  const int i = static_cast<int>(threadIdx.x);
  float* row = statistics + blockIdx.x * GateScores::kStatistics;
  const float largest = row[Statistic::kLargestLogit];
  row[Statistic::kQuantile01 + i] =
      largest != largest ? nanf("") : quantile(found[blockIdx.x], i, count);
}

}  // namespace

template <>
void cuda_kernel(const GateScores& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const GateScores::Scratch scratch = op.scratch(ctx);
  const std::int64_t tokens = op.logits.dim(0), count = scratch.scores.dim(0);
  const auto heads = static_cast<unsigned>(count);
  const auto elements = static_cast<int>(op.logits.dim(3));
  // The CPU's trees are far larger than what is counted here.
  const std::int64_t digits = quantile_counts(count), all = digits + count * kCounts;
  const Tensor room = scratch.trees.view({scratch.trees.numel()}).rows(0, all);
  const Tensor counts = room.rows(digits, all);
  auto* counted = reinterpret_cast<unsigned*>(counts.as<std::int32_t>());
  auto *scores = scratch.scores.as<float>(), *sums = scratch.tokens.as<float>(),
       *statistics = op.heads.as<float>();
  launch(clear, dim3(heads), dim3(kCounts), 0, stream, counted);
  for_vectors(op.logits.dtype(), false, [&]<class T, int>() {
    launch(measure<DeviceType<T>>, dim3(heads * blocks_of(tokens, kTokens)),
           cover_rows(1, elements).block, 0, stream, scores, sums, counted, heads_of<T>(op.logits),
           heads_in(op.logits.shape()), tokens, elements, op.logits.stride(3), op.activation,
           op.scale);
  });
  launch(finish_heads, dim3(heads), dim3(kThreads), 0, stream, statistics, op.histogram.as<float>(),
         sums, counted, tokens, elements);
  launch(pool_heads, dim3(1), dim3(GateScores::kStatistics), 0, stream, statistics, heads);
  launch(average_tokens, dim3(blocks_of(tokens, kThreads)), dim3(kThreads), 0, stream,
         op.tokens.as<float>(), sums, heads, tokens, elements);
  find_quantiles(scratch.wanted, room.rows(0, digits), scratch.scores, stream);
  launch(write_quantiles, dim3(heads + 1), dim3(kQuantiles), 0, stream, statistics,
         static_cast<const WantedKeys*>(scratch.wanted.data()), tokens * elements);
}

}  // namespace hg
