// CPU body of ops/cached_attention.h: a task per query head; bound by reading the cache once.
#include "ops/cached_attention.h"

#include <algorithm>
#include <cmath>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

template <class T>
void attend(const CachedAttention& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t n = op.q.dim(0), kv = op.q.dim(1), group = op.q.dim(2), d = op.q.dim(3);
  const std::int64_t cached = op.k.dim(0), row = kv * d;
  auto* probabilities = op.scratch(ctx).as<float>();
  parallel_for(n * kv * group, [&](std::int64_t task) {
    const std::int64_t head = task % (kv * group), j = head / group;
    const std::int64_t visible = cached - n + task / (kv * group) + 1;
    const T *q = op.q.as<T>() + task * d, *k = op.k.as<T>() + j * d, *v = op.v.as<T>() + j * d;
    float* p = probabilities + task * cached;
    for (std::int64_t s = 0; s < visible; ++s) {
      F32 dot{};
      for_lanes(d, [&](std::int64_t i, auto lanes) {
        dot += load(q + i, lanes) * load(k + s * row + i, lanes);
      });
      p[s] = op.scale * reduce_add(dot);
    }
    float largest = *std::max_element(p, p + visible), sum = 0;
    if (op.sink) {
      const float sink = op.sinks ? static_cast<float>(op.sinks.as<T>()[head]) : 0.0F;
      largest = std::max(largest, sink);
      sum = std::exp(sink - largest);
    }
    for_lanes(visible, [&](std::int64_t s, auto lanes) {
      const F32 e = exp(load(p + s, lanes) - largest);
      store(p + s, e, lanes);
      for (std::int64_t i = 0; i < lanes.count; ++i) sum += e[i];
    });
    for_lanes(d, [&](std::int64_t i, auto lanes) {
      F32 out{};
      for (std::int64_t s = 0; s < visible; ++s) out += p[s] * load(v + s * row + i, lanes);
      store(op.o.as<T>() + task * d + i, out / sum, lanes);
    });
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const CachedAttention& op, Context& ctx) {
  for_float_type(op.q.dtype(), [&]<class T>() { attend<T>(op, ctx); });
}

}  // namespace hg
