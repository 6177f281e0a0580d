// CPU bodies of ops/norm.h. Rows are independent; dweight is summed over pieces of rows in a fixed
// order.
#include "ops/norm.h"

#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/reduce.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // rows a task takes

/// y = x rstd weight for one row that is already in memory; returns rstd.
template <class T>
HG_INLINE float normalise_row(T* y, const T* x, const T* weight, std::int64_t d, float eps) {
  F32 squares{};
  for_lanes(d, [&](std::int64_t i, auto lanes) {
    const F32 v = load(x + i, lanes);
    squares += v * v;
  });
  const float rstd = 1.0F / std::sqrt(reduce_add(squares) / static_cast<float>(d) + eps);
  for_lanes(d, [&](std::int64_t i, auto lanes) {
    store(y + i, load(x + i, lanes) * rstd * load(weight + i, lanes), lanes);
  });
  return rstd;
}

template <class T>
void forward(const RmsNormForward& op) {
  const std::int64_t d = op.x.dim(1);
  parallel_ranges(op.x.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      op.rstd.as<float>()[t] =
          normalise_row(op.y.as<T>() + t * d, op.x.as<T>() + t * d, op.weight.as<T>(), d, op.eps);
    }
  });
}

template <class T>
void forward(const AddRmsNormForward& op) {
  const std::int64_t d = op.x.dim(1);
  parallel_ranges(op.x.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const T *x = op.x.as<T>() + t * d, *delta = op.delta.as<T>() + t * d;
      T* sum = op.sum.as<T>() + t * d;
      for_lanes(d, [&](std::int64_t i, auto lanes) {
        store(sum + i, load(x + i, lanes) + load(delta + i, lanes), lanes);
      });
      op.rstd.as<float>()[t] =
          normalise_row<T>(op.y.as<T>() + t * d, sum, op.weight.as<T>(), d, op.eps);
    }
  });
}

template <class T>
void backward(const RmsNormBackward& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t d = op.x.dim(1);
  const Tensor partial = op.scratch(ctx);
  auto* pieces = partial.as<float>();
  const T* weight = op.weight.as<T>();
  parallel_ranges(
      op.x.dim(0), RmsNormBackward::kRowsPerPiece, [&](std::int64_t begin, std::int64_t end) {
        float* dweight = pieces + begin / RmsNormBackward::kRowsPerPiece * d;
        for (std::int64_t t = begin; t < end; ++t) {
          const T *x = op.x.as<T>() + t * d, *dy = op.dy.as<T>() + t * d;
          const T* residual = op.dresidual ? op.dresidual.as<T>() + t * d : nullptr;
          T* dx = op.dx.as<T>() + t * d;
          const float rstd = op.rstd.as<float>()[t];
          F32 dot{};  // of dy weight and xhat
          for_lanes(d, [&](std::int64_t i, auto lanes) {
            const F32 g = load(dy + i, lanes), xhat = load(x + i, lanes) * rstd;
            dot += g * load(weight + i, lanes) * xhat;
            store(dweight + i, t == begin ? g * xhat : load(dweight + i, lanes) + g * xhat, lanes);
          });
          const float mean = reduce_add(dot) / static_cast<float>(d);
          for_lanes(d, [&](std::int64_t i, auto lanes) {
            const F32 g = load(dy + i, lanes) * load(weight + i, lanes);
            F32 out = rstd * (g - load(x + i, lanes) * rstd * mean);
            if (residual != nullptr) out += load(residual + i, lanes);
            store(dx + i, out, lanes);
          });
        }
      });
  sum_pieces(op.dweight, partial, op.accumulate);
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const RmsNormForward& op, Context&) {
  for_float_type(op.x.dtype(), [&]<class T>() { forward<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const AddRmsNormForward& op, Context&) {
  for_float_type(op.x.dtype(), [&]<class T>() { forward<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const RmsNormBackward& op, Context& ctx) {
  for_float_type(op.x.dtype(), [&]<class T>() { backward<T>(op, ctx); });
}

}  // namespace hg
