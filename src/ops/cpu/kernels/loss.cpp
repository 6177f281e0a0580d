// CPU bodies of ops/loss.h: a row is read once for its maximum and sum, and once more for its
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

/// Loss and gradient of a row that counts nothing. Op is CrossEntropy or CrossEntropyJoin, here and
/// below.
template <class T, class Op>
void clear_row(const Op& op, std::int64_t t) {
  const std::int64_t columns = op.logits.dim(1);
  op.loss.template as<float>()[t] = op.lse.template as<float>()[t] = 0;
  if (op.backward) std::fill_n(op.logits.template as<T>() + t * columns, columns, T(0.0F));
}

/// Loss and gradient of a row from its sum over the whole vocabulary, the target's logit, and the
/// target's column, which is none of these columns if another rank has it.
template <class T, class Op>
void finish_row(const Op& op, std::int64_t t, const RowSum& row, float target_logit,
                std::int64_t target) {
  const std::int64_t columns = op.logits.dim(1);
  T* x = op.logits.template as<T>() + t * columns;
  const float x_target = target_logit - row.max, log_sum = std::log(row.sum);
  const float lse = row.max + log_sum;
  op.lse.template as<float>()[t] = lse;
  op.loss.template as<float>()[t] = log_sum - x_target;
  if (!op.backward) return;
  const float softmax_scale = op.scale * (1.0F + 2.0F * op.z_loss * lse);
  scaled_softmax(x, columns, row, softmax_scale);
  if (target < 0 || target >= columns) return;
  // Again for the target, so that bf16 rounds the difference and not its parts.
  x[target] = T(exp(splat(x_target))[0] * (softmax_scale / row.sum) - op.scale);
}

template <class T>
void run_row(const CrossEntropy& op, std::int64_t t) {
  const std::int32_t target = op.targets.as<std::int32_t>()[t];
  if (target < 0) return clear_row<T>(op, t);
  const T* x = op.logits.as<T>() + t * op.logits.dim(1);
  finish_row<T>(op, t, sum_row(x, op.logits.dim(1)), static_cast<float>(x[target]), target);
}

template <class T>
void run_row(const CrossEntropyPart& op, std::int64_t t) {
  float* part = op.part.as<float>() + t * op.kParts;
  const std::int64_t columns = op.logits.dim(1), token = op.targets.as<std::int32_t>()[t];
  if (token < 0) {
    std::fill_n(part, op.kParts, 0.0F);
    return;
  }
  const T* x = op.logits.as<T>() + t * columns;
  const RowSum row = sum_row(x, columns);
  const std::int64_t target = token - op.first;
  part[0] = row.max;
  part[1] = row.sum;
  part[2] = target >= 0 && target < columns ? static_cast<float>(x[target]) : 0.0F;
}

template <class T>
void run_row(const CrossEntropyJoin& op, std::int64_t t) {
  const std::int64_t token = op.targets.as<std::int32_t>()[t];
  if (token < 0) return clear_row<T>(op, t);
  const auto part = [&](std::int64_t rank) {
    return op.parts.as<float>() + (rank * op.parts.dim(1) + t) * CrossEntropyPart::kParts;
  };
  RowSum row{.max = part(0)[0], .sum = 0};
  for (std::int64_t rank = 1; rank < op.parts.dim(0); ++rank) {
    row.max = std::max(row.max, part(rank)[0]);
  }
  float target_logit = 0;
  for (std::int64_t rank = 0; rank < op.parts.dim(0); ++rank) {
    row.sum += part(rank)[1] * exp(splat(part(rank)[0] - row.max))[0];
    target_logit += part(rank)[2];
  }
  finish_row<T>(op, t, row, target_logit, token - op.first);
}

template <class Op>
void run_rows(const Op& op) {
  const std::int64_t grain = std::max<std::int64_t>(1, kElementsPerTask / op.logits.dim(1));
  for_float_type(op.logits.dtype(), [&]<class T>() {
    parallel_ranges(op.logits.dim(0), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) run_row<T>(op, t);
    });
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const CrossEntropy& op, Context&) {
  run_rows(op);
}
template <>
void cpu_kernel<kIsa>(const CrossEntropyPart& op, Context&) {
  run_rows(op);
}
template <>
void cpu_kernel<kIsa>(const CrossEntropyJoin& op, Context&) {
  run_rows(op);
}

}  // namespace hg
