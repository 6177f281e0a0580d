// What a parameter store's ranks send each other: weights that become whole, gradients that are
// summed, in the background where there is a queue.
#include <utility>

#include "dist/param_store.h"
#include "ops/elementwise.h"
#include "ops/optimizer.h"

namespace hg {
namespace {

/// to = from, or to += from: gradients. The queue's thread does by itself what would otherwise take
/// threads from the one that computes.
void take_in(Context& ctx, const Tensor& to, const Tensor& from, bool add) {
  if (!add) return copy_values(ctx, to, from);
  if (on_gpu(ctx)) {
    const Shape row{1, to.numel()};
    return run(ctx, Add{.y = to.view(row), .x = from.view(row)});
  }
  auto* sum = to.as<float>();
  const auto* values = from.as<float>();
  for (std::int64_t i = 0; i < to.numel(); ++i) sum[i] += values[i];
}

}  // namespace

void ParamStore::in_background(CommQueue::Ticket& ticket, CommQueue::Call call) {
  ticket = mesh_.queue->submit(std::move(call));
}

void ParamStore::publish(Context& ctx) {
  for (const ParamState& state : states()) {
    if (state.working) run(ctx, Cast{.y = state.working, .x = state.master});
  }
  gather_updated(ctx);
}

void ParamStore::gather_updated(Context& ctx) {
  turns_ = {-1, -1};
  if (ctx.device == Device::meta || mesh_.queue == nullptr) return;
  if (!shards(ZeroStage::optimizer)) return;
  for (UnitId unit = 0; unit < units(); ++unit) {
    const bool in_turn = units_[static_cast<std::size_t>(unit)].recurring;
    if (!shards(ZeroStage::weights) || !in_turn) begin_gather(unit);
  }
}

void ParamStore::begin_gather(UnitId unit) {
  Unit& u = units_[static_cast<std::size_t>(unit)];
  in_background(u.gathered, [this, &u](Context& background) {
    for (const Kind kind : {kWhole, kTensor, kExperts}) {
      const Flat& flat = u.flats[kind];
      if (flat.size == 0) continue;
      // Weights lie whole, this rank's up to date; or as a shard, beside a place for the whole.
      const Tensor& whole = flat.gathered ? flat.gathered : flat.weights;
      const Tensor shard = !flat.gathered ? own(flat.weights, kind)
                           : flat.weights ? flat.weights
                                          : flat.master;
      Comm* comm = group_of(kind).background;
      if (comm != nullptr) {
        comm->all_gather(whole, shard, u.name);
      } else if (flat.gathered) {
        copy_values(background, whole, shard);
      }
    }
  });
}

void ParamStore::gather(Context& ctx, UnitId unit, UnitId next) {
  if (ctx.device == Device::meta || mesh_.queue == nullptr) return;
  const auto begin = [&](UnitId which) {
    if (which < 0 || !shards(ZeroStage::weights)) return;
    if (!units_[static_cast<std::size_t>(which)].recurring) return;
    UnitId& there = turns_[static_cast<std::size_t>(which) % 2];
    if (there != which) begin_gather(which);
    there = which;
  };
  begin(unit);
  begin(next);
  const CommQueue::Ticket ticket = units_[static_cast<std::size_t>(unit)].gathered;
  if (ticket > 0) mesh_.queue->wait(ticket);
}

void ParamStore::sum_partial(UnitId unit) const {
  if (mesh_.tensor.size == 1) return;
  for (std::size_t id = 0; id < specs_.size(); ++id) {
    if (places_[id].unit != unit || specs_[id].split != Split::partial) continue;
    const Flat& flat = flat_of(places_[id]);
    mesh_.tensor.background->all_reduce(
        part(flat.unreduced ? flat.unreduced : flat.gradient, static_cast<ParamId>(id)),
        Reduce::sum, specs_[id].name);
  }
}

void ParamStore::reduce(Context& ctx, UnitId unit, bool first, bool last) {
  if (ctx.device == Device::meta || mesh_.queue == nullptr) return;
  const bool scattered = shards(ZeroStage::gradients);
  if (!scattered && !last) return;
  Unit& u = units_[static_cast<std::size_t>(unit)];
  if (last) u.awaits_other_end = u.at_both_ends;
  in_background(u.reduced, [this, &u, unit, first, scattered](Context& background) {
    sum_partial(unit);
    for (const Kind kind : {kWhole, kTensor, kExperts}) {
      const Flat& flat = u.flats[kind];
      Comm* comm = group_of(kind).background;
      if (flat.size == 0) continue;
      const Tensor& whole = scattered ? flat.unreduced : flat.gradient;
      if (comm != nullptr && !shards(ZeroStage::optimizer)) {
        comm->all_reduce(whole, Reduce::sum, u.name);
      } else if (comm != nullptr) {
        comm->reduce_scatter(own(whole, kind), whole, u.name);
      }
      if (scattered) take_in(background, flat.gradient, own(whole, kind), !first);
    }
  });
}

void ParamStore::sum_over_ends(Unit& unit) const {
  if (mesh_.ends.comm == nullptr || !std::exchange(unit.awaits_other_end, false)) return;
  for (const Kind kind : {kWhole, kTensor, kExperts}) {
    const Flat& flat = unit.flats[kind];
    if (flat.size == 0) continue;
    const bool part = shards(ZeroStage::optimizer) && !shards(ZeroStage::gradients);
    mesh_.ends.comm->all_reduce(part ? own(flat.gradient, kind) : flat.gradient, Reduce::sum,
                                unit.name);
  }
}

void ParamStore::finish_reduce(Context& ctx) {
  if (ctx.device == Device::meta || mesh_.queue == nullptr) return;
  mesh_.queue->wait_all();
  // Not behind the others in the queue: the last stage comes there long before the first, and what
  // its other layers wait for would wait, too.
  for (Unit& unit : units_) sum_over_ends(unit);
}

}  // namespace hg
