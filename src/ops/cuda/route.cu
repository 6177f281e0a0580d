// CUDA body of RouterForward. A token is a warp's. What is summed over tokens goes piece by piece,
// in an order that depends on shapes and documents alone. A logit that is not finite makes weights
// that are not, where the CPU's body throws: the device has nobody to tell.
#include "ops/route.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/router_token.h"

namespace hg {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kPiece = RouterForward::kTokensPerPiece;
constexpr int kStatistics = RouterForward::kStatistics;

/// Larger for a larger score, and of equals for the lower expert; never 0. NaN has a place in the
/// order, too, so that K experts are chosen whatever happens.
HG_DEVICE unsigned long long key_of(float score, int expert) {
  const unsigned bits = __float_as_uint(score + 0.0F);  // -0 is 0
  const unsigned rising = bits >> 31 != 0 ? ~bits : bits | 0x80000000U;
  return static_cast<unsigned long long>(rising) << 32 | ~static_cast<unsigned>(expert);
}

struct Choice {
  int expert;
  float score;
};

/// The expert with the largest score + bias that is not in `taken`, which it enters. Bit j of
/// `taken` is of the lane's j-th expert.
template <int n>
HG_DEVICE Choice take_largest(const float (&scores)[n], const float (&biases)[n], int experts,
                              unsigned& taken) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  unsigned long long best = 0;
  float score = 0;  // of the lane's best
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    const bool left = e < experts && (taken >> j & 1U) == 0;
    const unsigned long long key = left ? key_of(scores[j] + biases[j], e) : 0;
    score = key > best ? scores[j] : score;
    best = key > best ? key : best;
  }
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const unsigned long long other = __shfl_xor_sync(0xffffffff, best, lanes);
    best = other > best ? other : best;
  }
  const int expert = static_cast<int>(~static_cast<unsigned>(best));
  if (expert % 32 == lane) taken |= 1U << expert / 32;
  return {expert, __shfl_sync(0xffffffff, score, expert % 32)};
}

struct ForwardOutput {
  float* weights;
  int* experts;
  int* piece_counts;
  float *piece_sums, *piece_statistics;
};

/// A piece of a document a block.
template <int n>
__global__ void __launch_bounds__(kThreads, n <= 8 ? 3 : 1)
    router_forward(ForwardOutput out, const float* __restrict__ logits,
                   const float* __restrict__ bias, RouterDocuments documents, int experts, int k,
                   RouterFunction function) {
  HG_SHARED(float, statistics, [kStatistics][kWarps]);
  HG_DYN_SHARED(memory);
  int* counts = reinterpret_cast<int*>(memory);              // [experts]
  float* sums = reinterpret_cast<float*>(counts + experts);  // [kWarps, experts]
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  const int warp = __shfl_sync(0xffffffff, thread / 32, 0);  // known to be the same in all lanes
  for (int e = thread; e < experts; e += kThreads) counts[e] = 0;
  __syncthreads();

  float biases[n], probabilities[n] = {};
#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    biases[j] = bias != nullptr && e < experts ? bias[e] : 0;
  }
  float squares = 0, top = 0, largest = 0;
  const int document = documents.document_of_piece(blockIdx.x);
  const std::int64_t begin =
      documents.bound(document) + (blockIdx.x - documents.first_piece(document)) * kPiece;
  const std::int64_t bound = documents.bound(document + 1);
  const std::int64_t end = begin + kPiece < bound ? begin + kPiece : bound;
  for (std::int64_t t = begin + warp; t < end; t += kWarps) {
    const RouterToken<n> token(logits + t * experts, experts, function.score);
    float highest = 0, logit = 0;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const float p = token.scores[j] * (1 / token.score_sum);
      probabilities[j] += p;
      highest = fmaxf(highest, p);
      if (lane + 32 * j < experts) logit = fmaxf(logit, fabsf(token.logits[j]));
    }
    squares += token.lse * token.lse;
    top += warp_max(highest);
    largest = fmaxf(largest, warp_max(logit));

    unsigned taken = 0;
    float sum = kTinySum;
    for (int i = 0; i < k; ++i) {
      const Choice choice = take_largest(token.scores, biases, experts, taken);
      sum += choice.score;
      if (i % 32 == lane) {
        out.experts[t * k + i] = choice.expert;
        out.weights[t * k + i] = choice.score;
        atomicAdd(&counts[choice.expert], 1);
      }
    }
    const float factor = function.renormalize ? function.factor / sum : function.factor;
    for (int i = lane; i < k; i += 32) out.weights[t * k + i] *= factor;
  }

#pragma unroll
  for (int j = 0; j < n; ++j) {
    const int e = lane + 32 * j;
    if (e < experts) sums[warp * experts + e] = probabilities[j];
  }
  if (lane == 0) {
    statistics[RouterForward::kSquaredLse][warp] = squares;
    statistics[RouterForward::kTopProbability][warp] = top;
    statistics[RouterForward::kLargestLogit][warp] = largest;
  }
  __syncthreads();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * experts;
  for (int e = thread; e < experts; e += kThreads) {
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) sum += sums[w * experts + e];
    out.piece_sums[row + e] = sum;
    out.piece_counts[row + e] = counts[e];
  }
  if (thread >= kStatistics) return;
  float total = 0;
  for (int w = 0; w < kWarps; ++w) {
    const float its = statistics[thread][w];
    total = thread == RouterForward::kLargestLogit ? fmaxf(total, its) : total + its;
  }
  out.piece_statistics[static_cast<std::int64_t>(blockIdx.x) * kStatistics + thread] = total;
}

constexpr int kColumns = 32, kParts = 8;

/// The sums of a document's pieces, for kColumns experts a block: kParts sums by turns, then those
/// in order.
__global__ void __launch_bounds__(kColumns* kParts)
    sum_documents(int* __restrict__ counts, float* __restrict__ sums,
                  const int* __restrict__ piece_counts, const float* __restrict__ piece_sums,
                  RouterDocuments documents, int experts) {
  HG_SHARED(int, count_parts, [kParts][kColumns]);
  HG_SHARED(float, sum_parts, [kParts][kColumns]);
  const int document = static_cast<int>(blockIdx.x), column = static_cast<int>(threadIdx.x);
  const int e = static_cast<int>(blockIdx.y) * kColumns + column;
  const std::int64_t end = documents.first_piece(document + 1);
  int count = 0;
  float sum = 0;
  for (std::int64_t p = documents.first_piece(document) + threadIdx.y; e < experts && p < end;
       p += kParts) {
    count += piece_counts[p * experts + e];
    sum += piece_sums[p * experts + e];
  }
  count_parts[threadIdx.y][column] = count;
  sum_parts[threadIdx.y][column] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || e >= experts) return;
  for (int part = 1; part < kParts; ++part) {
    count += count_parts[part][column];
    sum += sum_parts[part][column];
  }
  counts[static_cast<std::int64_t>(document) * experts + e] = count;
  sums[static_cast<std::int64_t>(document) * experts + e] = sum;
}

/// One block.
__global__ void __launch_bounds__(kThreads)
    sum_statistics(float* __restrict__ out, const float* __restrict__ statistics,
                   std::int64_t pieces) {
  HG_SHARED(double, partials, [2][kWarps]);
  HG_SHARED(float, largests, [kWarps]);
  double squares = 0, top = 0;
  float largest = 0;
  for (std::int64_t p = threadIdx.x; p < pieces; p += kThreads) {
    const float* its = statistics + p * kStatistics;
    squares += static_cast<double>(its[RouterForward::kSquaredLse]);
    top += static_cast<double>(its[RouterForward::kTopProbability]);
    largest = fmaxf(largest, its[RouterForward::kLargestLogit]);
  }
  squares = row_sum(squares, partials[0]);
  top = row_sum(top, partials[1]);
  largest = warp_max(largest);
  if (threadIdx.x % 32 == 0) largests[threadIdx.x / 32] = largest;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int w = 1; w < kWarps; ++w) largest = fmaxf(largest, largests[w]);
  out[RouterForward::kSquaredLse] = static_cast<float>(squares);
  out[RouterForward::kTopProbability] = static_cast<float>(top);
  out[RouterForward::kLargestLogit] = largest;
}

}  // namespace

template <>
void cuda_kernel(const RouterForward& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const RouterForward::Scratch scratch = op.scratch(ctx);
  const auto experts = static_cast<int>(op.logits.dim(1));
  const RouterDocuments documents = documents_of(op.documents, op.logits.dim(0));
  const ForwardOutput out{op.weights.as<float>(), op.experts.as<std::int32_t>(),
                          scratch.counts.as<std::int32_t>(), scratch.probability_sums.as<float>(),
                          scratch.statistics.as<float>()};
  const std::int64_t pieces = scratch.counts.dim(0);
  for_values_per_lane(experts, [&]<int n>() {
    launch(router_forward<n>, dim3(static_cast<unsigned>(pieces)), dim3(kThreads),
           static_cast<std::size_t>(experts) * (1 + kWarps) * sizeof(float), stream, out,
           op.logits.as<float>(), op.bias ? op.bias.as<float>() : nullptr, documents, experts,
           static_cast<int>(op.experts.dim(1)), op.function);
  });
  const auto columns = static_cast<unsigned>((experts + kColumns - 1) / kColumns);
  launch(sum_documents, dim3(static_cast<unsigned>(documents.count), columns),
         dim3(kColumns, kParts), 0, stream, op.counts.as<std::int32_t>(),
         op.probability_sums.as<float>(), out.piece_counts, out.piece_sums, documents, experts);
  launch(sum_statistics, dim3(1), dim3(kThreads), 0, stream, op.statistics.as<float>(),
         out.piece_statistics, pieces);
}

}  // namespace hg
