#include "dist/pipeline_schedule.h"

#include <algorithm>
#include <set>

#include "core/check.h"

namespace hg {
namespace {

using Pass = PipelineAction::Pass;

/// The k-th pass of a stage in one direction: micro-batches in groups of as many as there are
/// stages, each group chunk by chunk.
PipelineAction pass(Pass direction, int k, int stages, int chunks) {
  const int group = chunks == 1 ? 1 : stages;
  const int in_group = k % (group * chunks), chunk = in_group / group;
  return {.pass = direction,
          .micro_batch = k / (group * chunks) * group + k % group,
          .chunk = direction == Pass::forward ? chunk : chunks - 1 - chunk,
          .slot = -1};
}

/// The passes of a stage, without slots.
std::vector<PipelineAction> passes_of(int stage, int stages, int chunks, int micro_batches) {
  const int passes = micro_batches * chunks, behind = stages - 1 - stage;
  const int fill = chunks == 1 ? behind : 2 * behind + (chunks - 1) * stages;
  const int ahead = std::min(passes, fill);
  std::vector<PipelineAction> actions;
  const auto add = [&](Pass direction, int k) {
    actions.push_back(pass(direction, k, stages, chunks));
  };
  for (int k = 0; k < ahead; ++k) add(Pass::forward, k);
  for (int k = 0; k < passes; ++k) {
    if (k + ahead < passes) add(Pass::forward, k + ahead);
    add(Pass::backward, k);
  }
  return actions;
}

/// Plays all stages in an order that messages allow, and gives each forward pass a slot. The slot
/// is free again when the stage in front has begun the backward pass that takes the gradient out of
/// it; so whoever waits for a slot waits for something that this very order proves will come.
class SlotAssignment {
 public:
  explicit SlotAssignment(int chunks, std::vector<std::vector<PipelineAction>>& stages)
      : stages_(stages), parts_(std::ssize(stages) * chunks), taken_(stages.size()) {
    std::vector<std::size_t> next(stages.size());
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t s = 0; s < stages.size(); ++s) {
        if (next[s] == stages[s].size() || !play(s, stages[s][next[s]])) continue;
        ++next[s];
        moved = true;
      }
    }
  }
  int slots(std::size_t stage) const { return static_cast<int>(taken_[stage].size()); }

 private:
  /// A chunk of the whole model, and a micro-batch in it.
  struct Visit {
    std::int64_t part;
    int micro_batch;
    auto operator<=>(const Visit&) const = default;
  };
  bool play(std::size_t stage, PipelineAction& action) {
    const std::int64_t part = action.chunk * std::ssize(stages_) + static_cast<std::int64_t>(stage);
    const Visit visit{part, action.micro_batch};
    if (action.pass == Pass::forward) {
      if (part > 0 && !forward_.contains({part - 1, action.micro_batch})) return false;
      action.slot = take(taken_[stage], visit);
      forward_.insert(visit);
      return true;
    }
    const Visit behind{part + 1, action.micro_batch};
    if (behind.part < parts_) {
      if (!backward_.contains(behind)) return false;
      release(behind);
    }
    action.slot = slot_of(visit);
    if (part == 0) release(visit);
    backward_.insert(visit);
    return true;
  }
  std::vector<Visit>& stage_of(const Visit& visit) {
    return taken_[static_cast<std::size_t>(visit.part % std::ssize(stages_))];
  }
  int slot_of(const Visit& visit) {
    return static_cast<int>(std::ranges::find(stage_of(visit), visit) - stage_of(visit).begin());
  }
  void release(const Visit& visit) {
    stage_of(visit)[static_cast<std::size_t>(slot_of(visit))] = kFree;
  }
  static int take(std::vector<Visit>& slots, const Visit& visit) {
    auto slot = std::ranges::find(slots, kFree);
    if (slot == slots.end()) slot = slots.insert(slot, kFree);
    *slot = visit;
    return static_cast<int>(slot - slots.begin());
  }

  static constexpr Visit kFree{-1, -1};
  std::vector<std::vector<PipelineAction>>& stages_;
  std::int64_t parts_;
  std::vector<std::vector<Visit>> taken_;  // by stage and slot
  std::set<Visit> forward_, backward_;     // done
};

int most_batches(const PipelineSchedule& schedule, int chunks, int micro_batches) {
  std::vector<int> backward(static_cast<std::size_t>(micro_batches));  // passes done
  int begun = 0, done = 0, most = 0;
  for (const PipelineAction& action : schedule.actions) {
    begun = std::max(begun, action.micro_batch + 1);
    most = std::max(most, begun - done);
    if (action.pass == Pass::backward) ++backward[static_cast<std::size_t>(action.micro_batch)];
    while (done < begun && backward[static_cast<std::size_t>(done)] == chunks) ++done;
  }
  return most;
}

}  // namespace

PipelineSchedule pipeline_schedule(int stage, int stages, int chunks, int micro_batches) {
  HG_CHECK(stages > 1 || chunks == 1, "{} chunks of layers on a stage alone", chunks);
  HG_CHECK(chunks == 1 || micro_batches % stages == 0,
           "{} micro-batches of a step do not divide by {} stages, which take turns with {} chunks",
           micro_batches, stages, chunks);
  std::vector<std::vector<PipelineAction>> all;
  for (int i = 0; i < stages; ++i) all.push_back(passes_of(i, stages, chunks, micro_batches));
  const SlotAssignment assignment(chunks, all);
  const auto own = static_cast<std::size_t>(stage);
  PipelineSchedule schedule{.actions = all[own], .slots = assignment.slots(own)};
  schedule.batches = most_batches(schedule, chunks, micro_batches);
  return schedule;
}

LayerRange layers_of_part(std::int64_t layers, int part, int parts) {
  return {.first = layers * part / parts, .last = layers * (part + 1) / parts};
}

}  // namespace hg
