// Attention of new tokens over cached keys and values: the one path that no batch takes.
#include "model/attention.h"
#include "ops/cached_attention.h"

namespace hg {

void Attention::decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
                       const RopeTable& rope, ConstTensor x, Tensor y,
                       const KeyValueCache& cache) const {
  const ArenaScope scope(ctx.scratch);
  const Keep keep{.policy = Recompute::none, .pass = Pass::infer};
  Saved s;
  const Heads in = project(ctx, w, positions, rope, x, s, keep);
  const std::int64_t end = first + x.dim(0);
  run(ctx, CopyRows{.y = cache.k.rows(first, end), .x = in.k});
  run(ctx, CopyRows{.y = cache.v.rows(first, end), .x = in.v});
  s.o = ctx.scratch.allocate("attention output", x.dtype(), in.q.shape());
  run(ctx, CachedAttention{.o = s.o,
                           .q = in.q,
                           .k = cache.k.rows(0, end),
                           .v = cache.v.rows(0, end),
                           .scale = scale_,
                           .sink = sink_ != Sink::none,
                           .sinks = sinks(w)});
  finish(ctx, w, x, y, s, keep);
}

}  // namespace hg
