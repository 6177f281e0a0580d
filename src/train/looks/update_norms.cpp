#include "train/looks/update_norms.h"

#include <algorithm>

#include "dist/gather_rows.h"
#include "ops/inspect_optimizer.h"

namespace hg {
namespace {

/// Elements [begin, end) of a parameter, of one kind.
struct Range {
  const ParamState* state;  // whose tensors the range is of
  std::string_view kind;
  std::int64_t begin, end;
};

std::vector<Range> ranges_of(const std::vector<ParamState>& states) {
  std::vector<Range> ranges;
  for (const ParamState& state : states) {
    const std::size_t first = ranges.size();
    if (!state.counts) continue;
    const std::int64_t numel = state.master.numel();
    for_parts(state.spec, [&](const ParamSpec::Part& part, std::int64_t begin, std::int64_t end) {
      begin = std::max<std::int64_t>(0, begin - state.begin);
      end = std::min(numel, end - state.begin);
      if (begin >= end) return;
      const bool joins = ranges.size() > first && ranges.back().kind == part.kind;
      if (!joins) ranges.push_back({&state, part.kind, begin, begin});
      ranges.back().end = end;
    });
  }
  return ranges;
}

UpdateGroup& group_of(std::vector<UpdateGroup>& groups, std::string_view kind,
                      const std::string& unit) {
  const auto found = std::ranges::find_if(
      groups, [&](const UpdateGroup& group) { return group.kind == kind && group.unit == unit; });
  if (found != groups.end()) return *found;
  return groups.emplace_back(UpdateGroup{.kind = std::string(kind), .unit = unit, .sums = {}});
}

/// All groups of the model, without sums: in the same order on every rank.
std::vector<UpdateGroup> groups_of(const ParamStore& store) {
  std::vector<UpdateGroup> groups;
  for (std::size_t i = 0; i < store.specs().size(); ++i) {
    for (const ParamSpec::Part& part : store.specs()[i].parts) {
      if (part.numel > 0) group_of(groups, part.kind, store.unit_name(store.unit_of(i)));
    }
  }
  return groups;
}

void sum_over_ranks(Comm& host, std::vector<UpdateGroup>& groups) {
  std::vector<double> own;
  for (const auto& [kind, unit, sums] : groups)
    own.insert(own.end(), {sums.gradient, sums.weight, sums.update});
  const std::vector<double> all = sums_of_ranks(host, own, "update norms");
  for (std::size_t i = 0; i < groups.size(); ++i)
    groups[i].sums = {.gradient = all[3 * i], .weight = all[3 * i + 1], .update = all[3 * i + 2]};
}

}  // namespace

void UpdateSums::add(const UpdateSums& other) {
  gradient += other.gradient;
  weight += other.weight;
  update += other.update;
}

std::vector<UpdateGroup> measure_updates(RunModel& model, const OptimizerConfig& config, double lr,
                                         double gradient_scale, std::int64_t step) {
  Context& ctx = model.ctx;
  const ParamStore& store = model.store;
  const ArenaScope scope(ctx.scratch);
  const std::vector<ParamState> states = store.states();
  const std::vector<Range> ranges = ranges_of(states);
  const auto count = static_cast<std::int64_t>(ranges.size());
  const Tensor sums = ctx.scratch.allocate("update norms", DType::f32, {count, UpdateNorms::kSums});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& [state, kind, begin, end] = ranges[static_cast<std::size_t>(i)];
    run(ctx, UpdateNorms{.out = sums.rows(i, i + 1).view({UpdateNorms::kSums}),
                         .master = state->master.rows(begin, end),
                         .m = state->m.rows(begin, end),
                         .v = state->v.rows(begin, end),
                         .gradient = state->gradient.rows(begin, end),
                         .lr = lr,
                         .beta1 = config.beta1,
                         .beta2 = config.beta2,
                         .eps = config.eps,
                         .weight_decay = state->spec.decay ? config.weight_decay : 0,
                         .gradient_scale = static_cast<float>(gradient_scale),
                         .step = step});
  }
  std::vector<UpdateGroup> groups = groups_of(*model.whole);
  if (ctx.device == Device::meta) return groups;
  const HostValues<float> values(ctx, sums);
  for (std::int64_t i = 0; i < count; ++i) {
    const Range& range = ranges[static_cast<std::size_t>(i)];
    const float* sum = values.data() + i * UpdateNorms::kSums;
    group_of(groups, range.kind, store.unit_name(range.state->unit))
        .sums.add({.gradient = double{sum[UpdateNorms::kGradients]},
                   .weight = double{sum[UpdateNorms::kWeights]},
                   .update = double{sum[UpdateNorms::kUpdates]}});
  }
  if (store.mesh().host != nullptr) sum_over_ranks(*store.mesh().host, groups);
  return groups;
}

}  // namespace hg
