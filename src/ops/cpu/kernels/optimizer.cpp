// CPU bodies of ops/optimizer.h: one pass over flat memory each, in pieces.
#include "ops/optimizer.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 8192;  // elements a task takes

/// Squares are exact in f64, and so is where they are added. Four sums at a time: one would wait
/// for the last addition.
double sum_of_squares(const float* x, std::int64_t n) {
  F64 a{}, b{}, c{}, d{};
  const auto add = [](F64& lower, F64& upper, F32 v) {
    const F64 p = to_f64(low(v)), q = to_f64(high(v));
    lower += p * p;
    upper += q * q;
  };
  std::int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    add(a, b, load(x + i));
    add(c, d, load(x + i + kLanes));
  }
  for_lanes(n - i, [&](std::int64_t j, auto lanes) { add(a, b, load(x + i + j, lanes)); });
  return reduce_add((a + b) + (c + d));
}

template <class To, class From>
void cast(const Cast& op) {
  To* y = op.y.as<To>();
  const From* x = op.x.as<From>();
  parallel_ranges(op.x.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for_lanes(end - begin, [&](std::int64_t i, auto lanes) {
      store(y + begin + i, load(x + begin + i, lanes), lanes);
    });
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const AdamW& op, Context&) {
  const double c1 = 1 - std::pow(op.beta1, static_cast<double>(op.step));
  const double c2 = 1 - std::pow(op.beta2, static_cast<double>(op.step));
  const auto beta1 = static_cast<float>(op.beta1), rest1 = static_cast<float>(1 - op.beta1);
  const auto beta2 = static_cast<float>(op.beta2), rest2 = static_cast<float>(1 - op.beta2);
  const auto rate = static_cast<float>(op.lr / c1),
             decay = static_cast<float>(op.lr * op.weight_decay);
  const auto root = static_cast<float>(1 / std::sqrt(c2)), eps = static_cast<float>(op.eps);
  auto *master = op.master.as<float>(), *first = op.m.as<float>(), *second = op.v.as<float>();
  const auto* gradient = op.gradient.as<float>();
  auto* working = op.working ? op.working.as<bf16>() : nullptr;
  parallel_ranges(op.master.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for_lanes(end - begin, [&](std::int64_t offset, auto lanes) {
      const std::int64_t i = begin + offset;
      const F32 g = load(gradient + i, lanes) * op.gradient_scale;
      const F32 m = beta1 * load(first + i, lanes) + rest1 * g;
      const F32 v = beta2 * load(second + i, lanes) + rest2 * g * g;
      F32 w = load(master + i, lanes);
      w -= decay * w + rate * m / (sqrt(v) * root + eps);
      store(first + i, m, lanes);
      store(second + i, v, lanes);
      store(master + i, w, lanes);
      if (working != nullptr) store(working + i, w, lanes);
    });
  });
}

template <>
void cpu_kernel<kIsa>(const SumOfSquares& op, Context&) {
  constexpr std::int64_t kPieces = 256;  // at most, so that the partial sums need no scratch
  const std::int64_t n = op.x.numel();
  const std::int64_t piece = std::max(kGrain, ((n + kPieces - 1) / kPieces + 63) / 64 * 64);
  std::array<double, kPieces> partial{};
  parallel_ranges(n, piece, [&](std::int64_t begin, std::int64_t end) {
    partial[static_cast<std::size_t>(begin / piece)] =
        sum_of_squares(op.x.as<float>() + begin, end - begin);
  });
  double sum = 0;
  for (const double value : partial) sum += value;
  op.out.as<float>()[0] = static_cast<float>(sum);
}

template <>
void cpu_kernel<kIsa>(const Cast& op, Context&) {
  for_float_type(op.y.dtype(), [&]<class To>() {
    for_float_type(op.x.dtype(), [&]<class From>() { cast<To, From>(op); });
  });
}

}  // namespace hg
