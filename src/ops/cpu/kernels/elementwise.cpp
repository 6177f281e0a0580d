// CPU bodies of ops/elementwise.h: one pass, rows in parallel.
#include "ops/elementwise.h"

#include <cstring>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // rows a task takes

/// y[t, i] = fn(operands[t, i]...) for all elements.
template <class T, class Fn, class... Operand>
void map(const Tensor& y, Fn&& fn, const Operand&... operands) {
  const auto row = [](const auto& x, std::int64_t t) {
    return x.template as<T>() + t * x.stride(0);
  };
  parallel_ranges(y.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for_lanes(y.dim(1), [&](std::int64_t i, auto lanes) {
        store(row(y, t) + i, fn(load(row(operands, t) + i, lanes)...), lanes);
      });
    }
  });
}

/// Values clipped to a limit and stored as T must compare equal to it.
template <class T>
F32 rounded_limit(float limit) {
  return splat(static_cast<float>(static_cast<T>(limit)));
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const Add& op, Context&) {
  for_float_type(op.y.dtype(), [&]<class T>() {
    map<T>(
        op.y, [](F32 a, F32 b) { return a + b; }, op.base ? op.base : ConstTensor(op.y), op.x);
  });
}

template <>
void cpu_kernel<kIsa>(const ClipForward& op, Context&) {
  for_float_type(op.y.dtype(), [&]<class T>() {
    const F32 limit = rounded_limit<T>(op.limit);
    map<T>(
        op.y, [&](F32 x) { return min(limit, max(-limit, x)); }, op.x);
  });
}

template <>
void cpu_kernel<kIsa>(const ClipBackward& op, Context&) {
  for_float_type(op.y.dtype(), [&]<class T>() {
    const F32 limit = rounded_limit<T>(op.limit);
    map<T>(
        op.dx, [&](F32 dy, F32 y) { return y < limit && y > -limit ? dy : F32{}; }, op.dy, op.y);
  });
}

template <>
void cpu_kernel<kIsa>(const Zero& op, Context&) {
  constexpr std::int64_t kBytes = 64 * 1024;  // that a task takes
  parallel_ranges(op.y.bytes(), kBytes, [&](std::int64_t begin, std::int64_t end) {
    std::memset(static_cast<std::byte*>(op.y.data()) + begin, 0,
                static_cast<std::size_t>(end - begin));
  });
}

}  // namespace hg
