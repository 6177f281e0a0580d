// CPU bodies of ops/reduce.h. Sums over tokens go piece by piece in a fixed order; those over heads
// run from the first to the last.
#include "ops/reduce.h"

#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/kernels/activation.h"
#include "ops/cpu/reduce.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // tokens a task takes

template <class T>
void sum_tokens(const SumTokens& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t n = op.x.dim(1), row = op.x.stride(0);
  const Tensor pieces = op.scratch(ctx);
  constexpr std::int64_t kTokens = SumTokens::kTokensPerPiece;
  parallel_ranges(op.x.dim(0), kTokens, [&](std::int64_t begin, std::int64_t end) {
    float* sum = pieces.as<float>() + begin / kTokens * n;
    for (std::int64_t t = begin; t < end; ++t) {
      const T* x = op.x.as<T>() + t * row;
      for_lanes(n, [&](std::int64_t i, auto lanes) {
        const F32 value = load(x + i, lanes);
        store(sum + i, t == begin ? value : load(sum + i, lanes) + value, lanes);
      });
    }
  });
  sum_pieces(op.dparam, pieces, op.accumulate);
}

template <class T, Activation kActivation>
void sum_heads(const SumHeadsForward& op) {
  const Heads<const T> x(op.x);
  const Heads<T> y(op.y);
  const std::int64_t kv = op.x.dim(1), group = op.x.dim(2);
  parallel_ranges(op.x.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      for_lanes(op.x.dim(3), [&](std::int64_t i, auto lanes) {
        F32 sum{};
        for (std::int64_t j = 0; j < kv; ++j) {
          for (std::int64_t g = 0; g < group; ++g)
            sum += activate<kActivation>(load(x.at(t, j, g) + i, lanes));
        }
        store(y.at(t, 0, 0) + i, op.factor * sum, lanes);
      });
    }
  });
}

template <class T, Activation kActivation>
void sum_heads(const SumHeadsBackward& op) {
  const Heads<const T> x(op.x), dy(op.dy);
  const Heads<T> dx(op.dx);
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = x.at(t, j, g), *gradient = dy.at(t, 0, 0);
    T* out = dx.at(t, j, g);
    for_lanes(op.x.dim(3), [&](std::int64_t i, auto lanes) {
      const F32 slope = activate_with_slope<kActivation>(load(in + i, lanes)).slope;
      store(out + i, load(gradient + i, lanes) * op.factor * slope, lanes);
    });
  });
}

template <class Op>
void sum_heads_of_any_type(const Op& op) {
  for_float_type(op.x.dtype(), [&]<class T>() {
    for_activation(op.activation, [&](auto activation) { sum_heads<T, activation.value>(op); });
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const SumTokens& op, Context& ctx) {
  for_float_type(op.x.dtype(), [&]<class T>() { sum_tokens<T>(op, ctx); });
}

template <>
void cpu_kernel<kIsa>(const SumHeadsForward& op, Context&) {
  sum_heads_of_any_type(op);
}

template <>
void cpu_kernel<kIsa>(const SumHeadsBackward& op, Context&) {
  sum_heads_of_any_type(op);
}

}  // namespace hg
