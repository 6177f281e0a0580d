#include "model/instrument_join.h"

#include "ops/cached_attention.h"
#include "ops/inspect_activations.h"

namespace hg {
namespace {

/// Room for the statistics of so many parts of a matrix.
Tensor magnitudes(Context& ctx, std::int64_t parts) {
  return ctx.scratch.allocate("magnitudes of ranks", DType::f32,
                              {parts, std::int64_t{Magnitudes::kStatistics}});
}

/// The statistics of part i.
Tensor of_part(const Tensor& parts, std::int64_t i) {
  return parts.rows(i, i + 1).view({Magnitudes::kStatistics});
}

/// As CopyRows takes a matrix.
template <class AnyTensor>
AnyTensor matrix(const AnyTensor& x) {
  return x.split(1, 1, x.dim(1)).split(1, 1, 1);
}

}  // namespace

Tensor InstrumentJoin::own_heads(const Tensor& table) const { return part_of(table, heads_); }

void InstrumentJoin::gather_heads(Context& ctx, const Tensor& table) const {
  if (heads_.size == 1) return;
  run(ctx, AllGather{.y = table, .x = own_heads(table), .group = heads_, .label = "heads, a look"});
}

void InstrumentJoin::reduce_queries(Context& ctx, const Tensor& table,
                                    std::array<Reduce, 2> columns) const {
  if (context_.alone()) return;
  const ArenaScope scope(ctx.scratch);
  const Tensor copy = ctx.scratch.allocate("a column seen", DType::f32, {table.dim(0), 1});
  for (std::int64_t i = 0; i < 2; ++i) {
    const Tensor column = table.slice(1, i, i + 1);
    run(ctx, CopyRows{.y = matrix(copy), .x = matrix(column)});
    context_.reduce(ctx, copy, columns[static_cast<std::size_t>(i)], "queries, a look");
    run(ctx, CopyRows{.y = matrix(column), .x = matrix(copy)});
  }
}

ConstTensor InstrumentJoin::all_queries(Context& ctx, const ConstTensor& x) const {
  if (context_.alone()) return x;
  const Tensor all = ctx.scratch.allocate("all queries seen", x.dtype(),
                                          x.shape().with(0, x.dim(0) * context_.size()));
  context_.gather_copy(ctx, all, x, "queries, a look");
  return all;
}

ConstTensor InstrumentJoin::all_heads(Context& ctx, const ConstTensor& own_queries) const {
  const ConstTensor own = all_queries(ctx, own_queries);
  if (heads_.size == 1) return own;
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
  const auto measure_of = [&](Tensor to, ConstTensor rows) {
    measure(ctx, to, rows, heads_, {.tokens = 0, .channels = x.dim(1)});
  };
  if (context_.alone()) return measure_of(out, x);
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = magnitudes(ctx, 2 * context_.size());
  const auto own = context_.own(pieces);
  const std::int64_t tokens = x.dim(0) / 2;
  measure_of(of_part(own[0], 0), x.rows(0, tokens));
  measure_of(of_part(own[1], 0), x.rows(tokens, 2 * tokens));
  context_.gather(ctx, pieces, "magnitudes, a look");
  run(ctx, JoinMagnitudes{.out = out,
                          .parts = pieces,
                          .elements = tokens * x.dim(1) * heads_.size,
                          .tokens = tokens,
                          .channels = 0});
}

void InstrumentJoin::measure_tokens(Context& ctx, Tensor out, ConstTensor x) const {
  if (context_.alone()) return measure(ctx, out, x, tokens_, {.tokens = x.dim(0), .channels = 0});
  // In halves: each lies in one of the two pieces that this rank shares with `tokens_`.
  const ArenaScope scope(ctx.scratch);
  const Tensor halves = magnitudes(ctx, 2 * tokens_.size), own = part_of(halves, tokens_);
  const std::int64_t tokens = x.dim(0) / 2;
  for (std::int64_t i = 0; i < 2; ++i)
    run(ctx, Magnitudes{.out = of_part(own, i), .x = x.rows(i * tokens, (i + 1) * tokens)});
  if (tokens_.size > 1)
    run(ctx, AllGather{.y = halves, .x = own, .group = tokens_, .label = "magnitudes, a look"});
  const Tensor all = magnitudes(ctx, context_.size() * halves.dim(0));
  context_.gather_copy(ctx, matrix(all), matrix(halves), "magnitudes, a look");
  run(ctx,
      JoinMagnitudes{
          .out = out, .parts = all, .elements = x.numel() / 2, .tokens = tokens, .channels = 0});
}

void InstrumentJoin::measure(Context& ctx, Tensor out, ConstTensor x, const Group& group,
                             Step step) {
  if (group.size == 1) return run(ctx, Magnitudes{.out = out, .x = x});
  const ArenaScope scope(ctx.scratch);
  const Tensor parts = magnitudes(ctx, group.size), own = part_of(parts, group);
  run(ctx, Magnitudes{.out = of_part(own, 0), .x = x});
  run(ctx, AllGather{.y = parts, .x = own, .group = group, .label = "magnitudes, a look"});
  run(ctx, JoinMagnitudes{.out = out,
                          .parts = parts,
                          .elements = x.numel(),
                          .tokens = step.tokens,
                          .channels = step.channels});
}

void InstrumentJoin::reduce_tokens(Context& ctx, const Tensor& x, Reduce reduce) const {
  if (tokens_.size > 1)
    run(ctx, AllReduce{.x = x, .group = tokens_, .reduce = reduce, .label = "router, a look"});
  context_.reduce(ctx, x, reduce, "router, a look");
}

}  // namespace hg
