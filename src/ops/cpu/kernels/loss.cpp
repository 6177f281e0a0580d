// CPU body of ops/loss.h: a row is read once for its maximum and sum, and once more for its
// gradient, while it is still in cache.
#include "ops/loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kElementsPerTask = 1 << 15;
constexpr std::int64_t kBlock = 8 * kLanes;  // elements between two looks at the maximum

/// exp(x[v]) summed over a row, as exp(max) * sum: neither overflows.
struct RowSum {
  float max, sum;
};

/// One pass. Each lane keeps its own maximum and a sum relative to it (Milakov and Gimelshein,
/// 2018); the sum is rescaled once for each block. A NaN anywhere makes the sum NaN.
template <class T>
RowSum sum_row(const T* x, std::int64_t n) {
  F32 maximum = splat(std::numeric_limits<float>::lowest()), sum{};
  const auto add = [&](F32 largest, auto&& terms) {
    const F32 larger = max(maximum, largest);
    sum = sum * exp(maximum - larger) + terms(larger);
    maximum = larger;
  };
  std::int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    F32 largest = load(x + i);
    for (std::int64_t j = kLanes; j < kBlock; j += kLanes) largest = max(largest, load(x + i + j));
    add(largest, [&](F32 larger) {
      F32 terms{};
      for (std::int64_t j = 0; j < kBlock; j += kLanes) terms += exp(load(x + i + j) - larger);
      return terms;
    });
  }
  for (; i + kLanes <= n; i += kLanes) {
    const F32 value = load(x + i);
    add(value, [&](F32 larger) { return exp(value - larger); });
  }
  if (i < n) {
    F32 value = splat(-std::numeric_limits<float>::infinity());  // adds nothing
    const F32 loaded = load(x + i, Tail{n - i});
    std::memcpy(&value, &loaded, static_cast<std::size_t>(n - i) * 4);
    add(value, [&](F32 larger) { return exp(value - larger); });
  }
  const float largest = reduce_max(maximum);
  return {largest, reduce_add(sum * exp(maximum - largest))};
}

/// x = scale * softmax(x).
template <class T>
void scaled_softmax(T* x, std::int64_t n, const RowSum& row, float scale) {
  const float factor = scale / row.sum;
  for_lanes(n, [&](std::int64_t i, auto lanes) {
    store(x + i, exp(load(x + i, lanes) - row.max) * factor, lanes);
  });
}

template <class T>
void cross_entropy_row(const CrossEntropy& op, std::int64_t t) {
  const std::int64_t vocabulary = op.logits.dim(1);
  T* x = op.logits.as<T>() + t * vocabulary;
  float &loss = op.loss.as<float>()[t], &lse = op.lse.as<float>()[t];
  const std::int32_t target = op.targets.as<std::int32_t>()[t];
  if (target < 0) {
    loss = lse = 0;
    if (op.backward) std::fill_n(x, vocabulary, T(0.0F));
    return;
  }
  const RowSum row = sum_row(x, vocabulary);
  const float x_target = static_cast<float>(x[target]) - row.max;
  const float log_sum = std::log(row.sum);
  lse = row.max + log_sum;
  loss = log_sum - x_target;
  if (!op.backward) return;
  const float softmax_scale = op.scale * (1.0F + 2.0F * op.z_loss * lse);
  scaled_softmax(x, vocabulary, row, softmax_scale);
  // Again for the target, so that bf16 rounds the difference and not its parts.
  x[target] = T(exp(splat(x_target))[0] * (softmax_scale / row.sum) - op.scale);
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const CrossEntropy& op, Context&) {
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerTask / op.logits.dim(1));
  for_float_type(op.logits.dtype(), [&]<class T>() {
    parallel_ranges(op.logits.dim(0), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) cross_entropy_row<T>(op, t);
    });
  });
}

}  // namespace hg
