#include "model/expert_exchange.h"

#include <algorithm>

#include "dist/collectives.h"
#include "ops/dispatch.h"

namespace hg {

std::int64_t ExpertExchange::room(std::int64_t rows, std::int64_t capacity) const {
  const std::int64_t of_rank = capacity > 0 ? std::min(rows, experts_ * capacity) : rows;
  return group_.size * of_rank;
}

void ExpertExchange::plan(Context& ctx, Arena& keep, ConstTensor counts, ConstTensor offsets,
                          std::int64_t room, Saved& s) const {
  if (alone()) {
    s = {.sent = {}, .arrived = {}, .places = {}, .offsets = offsets};
    return;
  }
  const Shape by_rank{group_.size, experts_};
  const Tensor here = keep.allocate("exchange of experts", DType::i32, {experts_ + 1});
  s = {.sent = counts.view(by_rank),
       .arrived = keep.allocate("exchange of experts", DType::i32, by_rank),
       .places = keep.allocate("exchange of experts", DType::i32, {room, 1}),
       .offsets = here};
  run(ctx, AllToAll{.y = s.arrived,
                    .x = s.sent,
                    .received = {},
                    .sent = {},
                    .group = group_,
                    .label = "rows of experts"});
  run(ctx, ArrivalPlan{.places = s.places, .offsets = here, .counts = s.arrived});
}

ConstTensor ExpertExchange::to_experts(Context& ctx, const Saved& s, ConstTensor x,
                                       Tensor y) const {
  if (alone()) return x;
  const ArenaScope scope(ctx.scratch);
  const Tensor arrived = ctx.scratch.allocate("rows that arrive", x.dtype(), y.shape());
  run(ctx, AllToAll{.y = arrived,
                    .x = x,
                    .received = s.arrived,
                    .sent = s.sent,
                    .group = group_,
                    .label = "to experts"});
  run(ctx, Permute{.y = y, .x = arrived, .rows = s.places});
  return y;
}

ConstTensor ExpertExchange::to_tokens(Context& ctx, const Saved& s, ConstTensor x, Tensor y) const {
  if (alone()) return x;
  const ArenaScope scope(ctx.scratch);
  const Tensor leaving = ctx.scratch.allocate("rows that leave", x.dtype(), x.shape());
  run(ctx, Unpermute{.y = leaving, .x = x, .base = {}, .rows = s.places, .used = s.used()});
  run(ctx, AllToAll{.y = y,
                    .x = leaving,
                    .received = s.sent,
                    .sent = s.arrived,
                    .group = group_,
                    .label = "to tokens"});
  return y;
}

}  // namespace hg
