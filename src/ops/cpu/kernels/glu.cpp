// CPU bodies of ops/glu.h: one pass, rows in parallel.
#include "ops/glu.h"

#include <algorithm>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 8;  // rows a task takes

float weight_of(const ConstTensor& weights, std::int64_t t) {
  return weights ? weights.as<float>()[t] : 1.0F;
}

std::int64_t rows_in_use(const ConstTensor& y, const ConstTensor& used) {
  return used ? std::min<std::int64_t>(*used.as<std::int32_t>(), y.dim(0)) : y.dim(0);
}

template <class T>
void forward(const SwiGluForward& op) {
  const std::int64_t f = op.y.dim(1);
  parallel_ranges(rows_in_use(op.y, op.used), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const T *gate = op.x.as<T>() + t * 2 * f, *up = gate + f;
      T* y = op.y.as<T>() + t * f;
      const float weight = weight_of(op.weights, t);
      for_lanes(f, [&](std::int64_t i, auto lanes) {
        const F32 a = load(gate + i, lanes);
        store(y + i, weight * (a * sigmoid(a) * load(up + i, lanes)), lanes);
      });
    }
  });
}

template <class T>
void backward(const SwiGluBackward& op) {
  const std::int64_t f = op.dy.dim(1);
  parallel_ranges(rows_in_use(op.dy, op.used), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const T *gate = op.x.as<T>() + t * 2 * f, *up = gate + f, *dy = op.dy.as<T>() + t * f;
      T *dgate = op.dx.as<T>() + t * 2 * f, *dup = dgate + f;
      const float weight = weight_of(op.weights, t);
      F32 dot{};
      for_lanes(f, [&](std::int64_t i, auto lanes) {
        const F32 a = load(gate + i, lanes), b = load(up + i, lanes), s = sigmoid(a);
        const F32 ds = load(dy + i, lanes) * s, db = ds * a;
        store(dgate + i, weight * (ds * b * (1.0F + a * (1.0F - s))), lanes);
        store(dup + i, weight * db, lanes);
        dot += db * b;
      });
      if (op.dweights) op.dweights.as<float>()[t] = reduce_add(dot);
    }
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const SwiGluForward& op, Context&) {
  for_float_type(op.y.dtype(), [&]<class T>() { forward<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const SwiGluBackward& op, Context&) {
  for_float_type(op.dy.dtype(), [&]<class T>() { backward<T>(op); });
}

}  // namespace hg
