// The rules by which steps are judged.
#include "train/guard/judge.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "train/spikes/spike_events.h"

namespace hg {
namespace {

constexpr auto kWindow = static_cast<std::size_t>(SpikeDetector::kWindow);
static_assert(GuardConfig{}.spike_z == SpikeDetector::kBegin);

Action action_of(NotFinitePolicy policy) {
  switch (policy) {
    case NotFinitePolicy::stop:
      break;
    case NotFinitePolicy::skip_update:
      return Action::skip_update;
    case NotFinitePolicy::rewind_and_skip:
      return Action::rewind;
  }
  return Action::stop;
}

Action action_of(SpikePolicy policy) {
  switch (policy) {
    case SpikePolicy::log:
      break;
    case SpikePolicy::skip_update:
      return Action::skip_update;
    case SpikePolicy::rewind_and_skip:
      return Action::rewind;
  }
  return Action::update;
}

/// Median and z-score of a loss, where they are defined.
void measure(const GuardState& state, double loss, Verdict& verdict) {
  if (state.recent_losses.size() < kWindow || !(loss > 0) || !std::isfinite(loss)) return;
  MovingMedian window(SpikeDetector::kWindow);
  for (const double recent : state.recent_losses) window.add(std::log(recent));
  verdict.median = std::exp(window.median());
  verdict.z = window.z(std::log(loss), SpikeDetector::kLeastDeviation);
}

/// Makes an action that has reached its limit a stop.
void apply_limits(const GuardConfig& config, const GuardState& state, Verdict& verdict) {
  if (verdict.action == Action::skip_update && state.skipped >= config.max_skips) {
    verdict.why_stop = fmt::format(
        "{} updates in a row were skipped before, as guard.max_skips allows", state.skipped);
  } else if (verdict.action == Action::rewind && state.rewinds >= config.max_rewinds) {
    verdict.why_stop =
        fmt::format("the run has gone back {} times, as guard.max_rewinds allows", state.rewinds);
  } else {
    return;
  }
  verdict.action = Action::stop;
}

void take_in(const GuardConfig& config, GuardState& state, const Verdict& verdict, double loss) {
  if (verdict.action == Action::update) {
    state.skipped = 0;
    if (state.cooldown > 0) --state.cooldown;
    if (!(loss > 0)) return;  // has no logarithm
    if (state.recent_losses.size() == kWindow)
      state.recent_losses.erase(state.recent_losses.begin());
    state.recent_losses.push_back(loss);
    return;
  }
  state.cooldown = config.cooldown;
  if (verdict.action == Action::skip_update) ++state.skipped;
  if (verdict.action == Action::rewind) ++state.rewinds;
}

}  // namespace

const char* name_of(BadStep bad) {
  constexpr const char* kNames[] = {"none", "not_finite", "spike"};
  return kNames[static_cast<std::size_t>(bad)];
}

const char* name_of(Action action) {
  constexpr const char* kNames[] = {"update", "skip_update", "rewind", "stop"};
  return kNames[static_cast<std::size_t>(action)];
}

Verdict judge(const GuardConfig& config, GuardState& state, double loss, double grad_norm) {
  Verdict verdict;
  measure(state, loss, verdict);
  if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
    verdict.bad = BadStep::not_finite;
    verdict.action = action_of(config.not_finite);
  } else if (verdict.z > config.spike_z) {
    verdict.bad = BadStep::spike;
    verdict.action = state.cooldown > 0 ? Action::update : action_of(config.spike);
  }
  apply_limits(config, state, verdict);
  take_in(config, state, verdict, loss);
  return verdict;
}

nlohmann::ordered_json to_json(const GuardState& state) {
  return {{"recent_losses", state.recent_losses},
          {"cooldown", state.cooldown},
          {"skipped", state.skipped}};
}

GuardState guard_state_of(const nlohmann::json& json) {
  GuardState state;
  state.recent_losses = json.at("recent_losses").get<std::vector<double>>();
  state.cooldown = json.at("cooldown");
  state.skipped = json.at("skipped");
  return state;
}

}  // namespace hg
