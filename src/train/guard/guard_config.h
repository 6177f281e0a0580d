// The section `guard` of a config: what is done about bad steps.
#pragma once

#include "core/config.h"

namespace hg {

/// What is done about a loss or gradient that is not finite.
enum class NotFinitePolicy { stop, skip_update, rewind_and_skip };
/// What is done about a spike of the loss.
enum class SpikePolicy { log, skip_update, rewind_and_skip };

template <>
struct EnumNames<NotFinitePolicy> {
  static constexpr std::pair<NotFinitePolicy, std::string_view> values[] = {
      {NotFinitePolicy::stop, "stop"},
      {NotFinitePolicy::skip_update, "skip_update"},
      {NotFinitePolicy::rewind_and_skip, "rewind_and_skip"}};
};
template <>
struct EnumNames<SpikePolicy> {
  static constexpr std::pair<SpikePolicy, std::string_view> values[] = {
      {SpikePolicy::log, "log"},
      {SpikePolicy::skip_update, "skip_update"},
      {SpikePolicy::rewind_and_skip, "rewind_and_skip"}};
};

struct GuardConfig {
  NotFinitePolicy not_finite = NotFinitePolicy::stop;
  SpikePolicy spike = SpikePolicy::log;
  double spike_z = 8;
  std::int64_t max_skips = 10;
  std::int64_t max_rewinds = 3;
  std::int64_t cooldown = 0;

  void fields(auto&& f) {
    f("not_finite", not_finite,
      "loss or gradient not finite: stop; skip_update; or rewind_and_skip, from the newest "
      "checkpoint with the samples behind the bad batch");
    f("spike", spike, "the loss of a step is a spike: log; skip_update; or rewind_and_skip");
    f("spike_z", spike_z,
      "a spike is so many robust standard deviations above the median of 100 losses", positive);
    f("max_skips", max_skips, "updates that may be skipped in a row; then the run stops",
      at_least(0));
    f("max_rewinds", max_rewinds, "rewinds of one process; then the run stops", at_least(0));
    f("cooldown", cooldown, "steps behind a skip or rewind in which spikes are only logged",
      at_least(0));
  }

  bool rewinds() const {
    return not_finite == NotFinitePolicy::rewind_and_skip || spike == SpikePolicy::rewind_and_skip;
  }
};

}  // namespace hg
