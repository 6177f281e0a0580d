// CUDA body of RouterBackward. Scores are computed again from the logits: cheaper than keeping
// them.
#include "ops/cuda/kernel.h"
#include "ops/cuda/router_token.h"
#include "ops/route.h"

namespace hg {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;

/// A token a warp; dlogits may be logits.
template <int n>
__global__ void __launch_bounds__(kThreads)
    router_backward(float* dlogits, const float* logits, const float* __restrict__ dweights,
                    const int* __restrict__ chosen, const float* __restrict__ balance,
                    RouterDocuments documents, int experts, int k, RouterFunction function,
                    float z) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const std::int64_t t = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (t >= documents.tokens) return;
  const RouterToken<n> token(logits + t * experts, experts, function.score);

  float gradient[n] = {};  // with respect to the scores
  if (balance != nullptr) {
    const float* row = balance + static_cast<std::int64_t>(documents.document_of(t)) * experts;
    float dot = 0;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      gradient[j] = lane + 32 * j < experts ? row[lane + 32 * j] : 0;
      dot += gradient[j] * token.scores[j];
    }
    const float mean = warp_sum(dot) / token.score_sum;
#pragma unroll
    for (int j = 0; j < n; ++j) gradient[j] = (gradient[j] - mean) * (1 / token.score_sum);
  }

  float sum = 0, dot = 0;  // over the token's experts
  for (int i = 0; i < k; ++i) {
    const int e = chosen[t * k + i];
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const float score = e == lane + 32 * j ? token.scores[j] : 0;
      sum += score;
      dot += dweights[t * k + i] * score;
    }
  }
  sum = warp_sum(sum) + kTinySum;
  dot = warp_sum(dot);
  const float factor = function.renormalize ? function.factor / sum : function.factor;
  const float mean = function.renormalize ? dot / sum : 0;
  for (int i = 0; i < k; ++i) {
    const int e = chosen[t * k + i];
    const float its = factor * (dweights[t * k + i] - mean);
#pragma unroll
    for (int j = 0; j < n; ++j) gradient[j] += e == lane + 32 * j ? its : 0;
  }

  const float from_lse = 2 * z * token.lse;
  float shift = 0;
  if (function.score == RouterScore::softmax) {
#pragma unroll
    for (int j = 0; j < n; ++j) shift += gradient[j] * token.softmax[j];
    shift = warp_sum(shift);
  }
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    if (e >= experts) continue;
    const float s = token.scores[j], p = token.softmax[j];
    dlogits[t * experts + e] = function.score == RouterScore::softmax
                                   ? p * (gradient[j] + (from_lse - shift))
                                   : gradient[j] * s * (1 - s) + from_lse * p;
  }
}

}  // namespace

template <>
void cuda_kernel(const RouterBackward& op, Context&, cudaStream_t stream) {
  const std::int64_t tokens = op.logits.dim(0);
  if (tokens == 0) return;
  const auto experts = static_cast<int>(op.logits.dim(1));
  for_values_per_lane(experts, [&]<int n>() {
    launch(router_backward<n>, dim3(static_cast<unsigned>((tokens + kWarps - 1) / kWarps)),
           dim3(kThreads), 0, stream, op.dlogits.as<float>(), op.logits.as<float>(),
           op.dweights.as<float>(), op.experts.as<std::int32_t>(),
           op.balance ? op.balance.as<float>() : nullptr, documents_of(op.documents, tokens),
           experts, static_cast<int>(op.experts.dim(1)), op.function, op.z);
  });
}

}  // namespace hg
