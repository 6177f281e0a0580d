// CPU bodies of ops/inspect_optimizer.h: one pass over flat memory, in pieces.
#include "ops/inspect_optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/kernels/inspect_lanes.h"

namespace hg {
namespace {

using Sums = std::array<double, UpdateNorms::kSums>;

/// A sum of squares in f64, where squares of f32 are exact; halves apart, so that neither waits.
struct Squares {
  F64 lower{}, upper{};
  HG_INLINE void add(F32 x) {
    const F64 a = to_f64(low(x)), b = to_f64(high(x));
    lower += a * a;
    upper += b * b;
  }
  double sum() const { return reduce_add(lower + upper); }
};

/// Sums over [begin, end), without the factors that all terms share.
Sums sum(const UpdateNorms& op, std::int64_t begin, std::int64_t end) {
  const double c1 = 1 - std::pow(op.beta1, static_cast<double>(op.step));
  const double c2 = 1 - std::pow(op.beta2, static_cast<double>(op.step));
  const auto rate = static_cast<float>(1 / c1), root = static_cast<float>(1 / std::sqrt(c2));
  const auto eps = static_cast<float>(op.eps), decay = static_cast<float>(op.weight_decay);
  Squares weights, updates, gradients;
  for_lanes(end - begin, [&](std::int64_t offset, auto lanes) {
    const std::int64_t i = begin + offset;
    const F32 w = load(op.master.as<float>() + i, lanes);
    const F32 u = rate * load(op.m.as<float>() + i, lanes) /
                  (sqrt(load(op.v.as<float>() + i, lanes)) * root + eps);
    weights.add(w);
    updates.add(live(lanes) ? u + decay * w : F32{});  // 0 / 0 past the end, if eps is 0
    gradients.add(load(op.gradient.as<float>() + i, lanes));
  });
  return {weights.sum(), updates.sum(), gradients.sum()};
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const UpdateNorms& op, Context&) {
  constexpr std::int64_t kPieces = 256;  // at most, so that the partial sums need no scratch
  constexpr std::int64_t kGrain = 8192;
  const std::int64_t n = op.master.numel();
  const std::int64_t piece = std::max(kGrain, ((n + kPieces - 1) / kPieces + 63) / 64 * 64);
  std::array<Sums, kPieces> partial{};
  parallel_ranges(n, piece, [&](std::int64_t begin, std::int64_t end) {
    partial[static_cast<std::size_t>(begin / piece)] = sum(op, begin, end);
  });
  Sums total{};
  for (const Sums& sums : partial) {
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += sums[i];
  }
  const double update = op.lr / (1 - op.lr * op.weight_decay), gradient = op.gradient_scale;
  float* out = op.out.as<float>();
  out[UpdateNorms::kWeights] = static_cast<float>(total[UpdateNorms::kWeights]);
  out[UpdateNorms::kUpdates] = static_cast<float>(update * update * total[UpdateNorms::kUpdates]);
  out[UpdateNorms::kGradients] =
      static_cast<float>(gradient * gradient * total[UpdateNorms::kGradients]);
}

}  // namespace hg
