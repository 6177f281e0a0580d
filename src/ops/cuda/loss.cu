// CUDA bodies of ops/loss.h: a block for every row, which is read once for its maximum and sum, and
// once more for its gradient, from the second-level cache if it is still there. A target that the
// CPU body rejects makes NaN of its row.
#include "ops/loss.h"

#include <limits>

#include "ops/cuda/kernel.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

constexpr int kThreads = 512;
constexpr int kParts = CrossEntropyPart::kParts;

/// exp(x[v]) summed over a row, as exp(max) * sum: neither overflows.
struct RowSum {
  float max, sum;
};

/// The block's sum over a row, in all threads. Each thread keeps its own maximum and a sum relative
/// to it (Milakov and Gimelshein, 2018), rescaled once for every kAtOnce elements. A NaN anywhere
/// makes the sum NaN.
template <class T, int n>
HG_DEVICE RowSum sum_row(const T* x, std::int64_t vectors) {
  constexpr int kAtOnce = 16, kLoads = kAtOnce / n;
  HG_SHARED(float, maxima, [kThreads / 32]);
  HG_SHARED(float, sums, [kThreads / 32]);
  RowSum row{std::numeric_limits<float>::lowest(), 0};
  for (std::int64_t i = threadIdx.x; i < vectors; i += kLoads * kThreads) {
    Elements<T, n> values[kLoads];
    for (int k = 0; k < kLoads; ++k) {
      if (i + k * kThreads < vectors) {
        values[k] = load_vector<n>(x, i + k * kThreads);
      } else {
        for (int j = 0; j < n; ++j)
          values[k].set(j, -std::numeric_limits<float>::infinity());  // adds nothing
      }
    }
    float larger = row.max, terms = 0;
    for (int k = 0; k < kLoads; ++k)
      for (int j = 0; j < n; ++j) larger = fmaxf(larger, values[k][j]);  // passes over NaN
    for (int k = 0; k < kLoads; ++k)
      for (int j = 0; j < n; ++j) terms += expf(values[k][j] - larger);
    row = {larger, row.sum * expf(row.max - larger) + terms};
  }
  const float max = row_max(row.max, maxima);
  return {max, row_sum(row.sum * expf(row.max - max), sums)};
}

/// What a kernel writes for its row, and how.
template <class T>
struct Result {
  T* logits;  // [T, V]; null: no gradient
  float *loss, *lse;
  float z_loss, scale;
};

/// Loss and gradient of a row that counts nothing.
template <class T, int n>
HG_DEVICE void clear_row(const Result<T>& result, std::int64_t t, std::int64_t vectors) {
  if (threadIdx.x == 0) result.loss[t] = result.lse[t] = 0;
  if (result.logits == nullptr) return;
  Elements<T, n> zeros;
  for (int j = 0; j < n; ++j) zeros.set(j, 0);
  for (std::int64_t i = threadIdx.x; i < vectors; i += blockDim.x)
    store_vector(result.logits + t * vectors * n, i, zeros);
}

/// Loss and gradient of a row from its sum over the whole vocabulary, the target's logit, and the
/// target's column, which is none of these columns if another rank has it.
template <class T, int n>
HG_DEVICE void finish_row(const Result<T>& result, std::int64_t t, std::int64_t vectors,
                          const RowSum& row, float target_logit, std::int64_t target) {
  const float log_sum = logf(row.sum), lse = row.max + log_sum;
  if (threadIdx.x == 0) {
    result.lse[t] = lse;
    result.loss[t] = log_sum - (target_logit - row.max);
  }
  if (result.logits == nullptr) return;
  T* x = result.logits + t * vectors * n;
  const float factor = result.scale * (1.0F + 2.0F * result.z_loss * lse) / row.sum;
  for (std::int64_t i = threadIdx.x; i < vectors; i += blockDim.x) {
    auto values = load_vector<n>(x, i);
    for (int j = 0; j < n; ++j) {
      const float softmax = expf(values[j] - row.max) * factor;
      values.set(j, i * n + j == target ? softmax - result.scale : softmax);
    }
    store_vector(x, i, values);
  }
}

template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    cross_entropy(Result<T> result, const T* logits, const std::int32_t* __restrict__ targets,
                  std::int64_t vectors) {
  const std::int64_t t = blockIdx.x, target = targets[t];
  if (target < 0) return clear_row<T, n>(result, t, vectors);
  const T* x = logits + t * vectors * n;
  // Before other threads replace it: there are barriers in sum_row.
  const float target_logit = target < vectors * n ? to_f32(x[target]) : nanf("");
  RowSum row = sum_row<T, n>(x, vectors);
  if (target >= vectors * n) row.sum = nanf("");
  finish_row<T, n>(result, t, vectors, row, target_logit, target);
}

template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_part(float* __restrict__ parts, const T* __restrict__ logits,
                       const std::int32_t* __restrict__ targets, std::int64_t vectors,
                       std::int64_t first) {
  const std::int64_t t = blockIdx.x, token = targets[t], target = token - first;
  const T* x = logits + t * vectors * n;
  RowSum row{0, 0};
  if (token >= 0) row = sum_row<T, n>(x, vectors);
  if (threadIdx.x > 0) return;
  float* part = parts + t * kParts;
  part[0] = row.max;
  part[1] = row.sum;
  part[2] = token >= 0 && target >= 0 && target < vectors * n ? to_f32(x[target]) : 0.0F;
}

template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    cross_entropy_join(Result<T> result, const float* __restrict__ parts, int ranks,
                       const std::int32_t* __restrict__ targets, std::int64_t vectors,
                       std::int64_t first) {
  const std::int64_t t = blockIdx.x, tokens = gridDim.x, token = targets[t];
  if (token < 0) return clear_row<T, n>(result, t, vectors);
  RowSum row{parts[t * kParts], 0};
  for (int rank = 1; rank < ranks; ++rank)
    row.max = fmaxf(row.max, parts[(rank * tokens + t) * kParts]);
  float target_logit = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const float* part = parts + (rank * tokens + t) * kParts;
    row.sum += part[1] * expf(part[0] - row.max);
    target_logit += part[2];
  }
  finish_row<T, n>(result, t, vectors, row, target_logit, token - first);
}

template <class T, class Op>
Result<DeviceType<T>> result_of(const Op& op) {
  return {op.backward ? device_pointer<T>(op.logits) : nullptr, op.loss.template as<float>(),
          op.lse.template as<float>(), op.z_loss, op.scale};
}

/// Calls fn.operator()<T, n>(blocks, vectors of a row).
template <class Fn>
void for_rows(const ConstTensor& logits, Fn&& fn) {
  if (logits.dim(0) == 0) return;
  for_vectors(logits.dtype(), wide({logits}), [&]<class T, int n>() {
    fn.template operator()<T, n>(dim3(static_cast<unsigned>(logits.dim(0))), logits.dim(1) / n);
  });
}

}  // namespace

template <>
void cuda_kernel(const CrossEntropy& op, Context&, cudaStream_t stream) {
  for_rows(op.logits, [&]<class T, int n>(dim3 blocks, std::int64_t vectors) {
    launch(cross_entropy<DeviceType<T>, n>, blocks, dim3(kThreads), 0, stream, result_of<T>(op),
           device_pointer<T>(op.logits), op.targets.as<std::int32_t>(), vectors);
  });
}

template <>
void cuda_kernel(const CrossEntropyPart& op, Context&, cudaStream_t stream) {
  for_rows(op.logits, [&]<class T, int n>(dim3 blocks, std::int64_t vectors) {
    launch(cross_entropy_part<DeviceType<T>, n>, blocks, dim3(kThreads), 0, stream,
           op.part.as<float>(), device_pointer<T>(op.logits), op.targets.as<std::int32_t>(),
           vectors, op.first);
  });
}

template <>
void cuda_kernel(const CrossEntropyJoin& op, Context&, cudaStream_t stream) {
  for_rows(op.logits, [&]<class T, int n>(dim3 blocks, std::int64_t vectors) {
    launch(cross_entropy_join<DeviceType<T>, n>, blocks, dim3(op.backward ? kThreads : 32), 0,
           stream, result_of<T>(op), op.parts.as<float>(), static_cast<int>(op.parts.dim(0)),
           op.targets.as<std::int32_t>(), vectors, op.first);
  });
}

}  // namespace hg
