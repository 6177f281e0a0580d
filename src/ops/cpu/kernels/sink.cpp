// CPU bodies of ops/sink.h: one pass over o; a number per head and token is scalar work. The sinks'
// gradients are summed piece by piece in a fixed order.
#include "ops/sink.h"

#include <algorithm>
#include <cmath>

#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/reduce.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

template <class T>
void forward(const SinkForward& op) {
  const Heads<T> o(op.o);
  const std::int64_t tokens = op.o.dim(0), group = op.o.dim(2);
  parallel_heads(op.o.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const std::int64_t head = j * group + g;
    const float sink = op.sinks ? static_cast<float>(op.sinks.as<T>()[head]) : 0.0F;
    float& lse = op.lse.as<float>()[head * tokens + t];
    // The weights that are left to the keys; no difference of large logsumexps.
    const float share = 1.0F / (1.0F + std::exp(sink - lse));
    lse = std::max(lse, sink) + std::log1p(std::exp(-std::abs(lse - sink)));
    T* out = o.at(t, j, g);
    for_lanes(op.o.dim(3), [&](std::int64_t i, auto lanes) {
      store(out + i, load(out + i, lanes) * share, lanes);
    });
  });
}

template <class T>
void backward(const SinkBackward& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const Heads<const T> o(op.o), d_o(op.d_o);
  const std::int64_t tokens = op.o.dim(0), group = op.o.dim(2), heads = op.sinks.numel();
  const Tensor pieces = op.scratch(ctx);
  constexpr std::int64_t kTokens = SinkBackward::kTokensPerPiece;
  parallel_ranges(tokens, kTokens, [&](std::int64_t begin, std::int64_t end) {
    float* sums = pieces.as<float>() + begin / kTokens * heads;
    std::fill_n(sums, heads, 0.0F);
    for_heads(op.o.shape(), begin, end, [&](std::int64_t t, std::int64_t j, std::int64_t g) {
      const std::int64_t head = j * group + g;
      const T *out = o.at(t, j, g), *gradient = d_o.at(t, j, g);
      F32 dot{};
      for_lanes(op.o.dim(3), [&](std::int64_t i, auto lanes) {
        dot += load(gradient + i, lanes) * load(out + i, lanes);
      });
      const float lse = op.lse.as<float>()[head * tokens + t];
      sums[head] -= std::exp(static_cast<float>(op.sinks.as<T>()[head]) - lse) * reduce_add(dot);
    });
  });
  sum_pieces(op.dsinks.view({heads}), pieces, op.accumulate);
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const SinkForward& op, Context&) {
  for_float_type(op.o.dtype(), [&]<class T>() { forward<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const SinkBackward& op, Context& ctx) {
  for_float_type(op.o.dtype(), [&]<class T>() { backward<T>(op, ctx); });
}

}  // namespace hg
