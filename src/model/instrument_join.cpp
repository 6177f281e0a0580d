#include "model/instrument_join.h"

#include "ops/cached_attention.h"
#include "ops/inspect_activations.h"

namespace hg {
Tensor InstrumentJoin::own_heads(const Tensor& table) const { return part_of(table, heads_); }

void InstrumentJoin::gather_heads(Context& ctx, const Tensor& table) const {
  if (alone()) return;
  run(ctx, AllGather{.y = table, .x = own_heads(table), .group = heads_, .label = "heads, a look"});
}

ConstTensor InstrumentJoin::all_heads(Context& ctx, const ConstTensor& own) const {
  if (alone()) return own;
  const std::int64_t t = own.dim(0), kv = own.dim(1), g = own.dim(2), e = own.dim(3);
  const ConstTensor by_head(own.data(), own.dtype(), {kv, g, t, e},
                            {own.stride(1), own.stride(2), own.stride(0), own.stride(3)});
  const Tensor all =
      ctx.scratch.allocate("all heads seen", own.dtype(), {kv * heads_.size, g, t, e});
  run(ctx, CopyRows{.y = own_heads(all), .x = by_head});
  gather_heads(ctx, all);
  return {all.data(),
          all.dtype(),
          {t, all.dim(0), g, e},
          {all.stride(2), all.stride(0), all.stride(1), all.stride(3)}};
}

void InstrumentJoin::measure_heads(Context& ctx, Tensor out, ConstTensor x) const {
  measure(ctx, out, x, heads_, {.tokens = 0, .channels = x.dim(1)});
}

void InstrumentJoin::measure_tokens(Context& ctx, Tensor out, ConstTensor x) const {
  measure(ctx, out, x, tokens_, {.tokens = x.dim(0), .channels = 0});
}

void InstrumentJoin::measure(Context& ctx, Tensor out, ConstTensor x, const Group& group,
                             Step step) {
  if (group.size == 1) return run(ctx, Magnitudes{.out = out, .x = x});
  const ArenaScope scope(ctx.scratch);
  const Tensor parts = ctx.scratch.allocate("magnitudes of ranks", DType::f32,
                                            {group.size, std::int64_t{Magnitudes::kStatistics}});
  const Tensor own = part_of(parts, group);
  run(ctx, Magnitudes{.out = own.view({Magnitudes::kStatistics}), .x = x});
  run(ctx, AllGather{.y = parts, .x = own, .group = group, .label = "magnitudes, a look"});
  run(ctx, JoinMagnitudes{.out = out,
                          .parts = parts,
                          .elements = x.numel(),
                          .tokens = step.tokens,
                          .channels = step.channels});
}

void InstrumentJoin::reduce_tokens(Context& ctx, const Tensor& x, Reduce reduce) const {
  if (tokens_.size == 1) return;
  run(ctx, AllReduce{.x = x, .group = tokens_, .reduce = reduce, .label = "router, a look"});
}

}  // namespace hg
