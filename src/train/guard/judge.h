// Judges steps: healthy, not finite, or a spike, and what is done about it. Pure host code on
// numbers of which all ranks hold the same bits, so that all decide alike without a word.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/guard/guard_config.h"

namespace hg {

enum class BadStep {
  none,
  not_finite,  ///< the loss or the gradient's norm
  spike        ///< the loss is far above what it was
};

/// What is done with the gradient of a step.
enum class Action {
  update,       ///< the optimizer's step, as ever
  skip_update,  ///< the batch is consumed, the weights stay as they are
  rewind,       ///< back to the newest checkpoint, on with the samples behind this batch
  stop          ///< the end of the run
};

/// "not_finite", "spike"; "update", "skip_update", "rewind", "stop": as in events.jsonl.
const char* name_of(BadStep bad);
const char* name_of(Action action);

struct Verdict {
  BadStep bad = BadStep::none;
  Action action = Action::update;
  /// Of log(loss); NaN while there are too few losses, or without a logarithm.
  double z = std::numeric_limits<double>::quiet_NaN();
  double median = z;     ///< that z is measured from, in nats
  std::string why_stop;  ///< "", or the limit that was reached
};

/// What judgement depends on: like step and samples a part of the run's state.
struct GuardState {
  std::vector<double> recent_losses;  ///< the last 100 that the weights were updated by; nats
  std::int64_t cooldown = 0;          ///< steps to come in which spikes are only logged
  std::int64_t skipped = 0;           ///< updates, in a row
  std::int64_t rewinds = 0;           ///< of this process: in no checkpoint
};

/// Judges a step and takes it into the state.
/// - Not finite is a loss or norm that is NaN or infinite.
/// - A spike is a loss whose robust z-score (MovingMedian::z, of log(loss)) over the last 100
///   losses is above config.spike_z; while there are fewer, nothing is. As the median and the MAD
///   withstand many outliers, every loss that led to an update counts, logged spikes too: behind 50
///   of them the new level is the normal one.
/// Where a policy has used up its limit, the run stops.
Verdict judge(const GuardConfig& config, GuardState& state, double loss, double grad_norm);

/// The part of a state that a checkpoint keeps, and back; throws nlohmann's exceptions.
nlohmann::ordered_json to_json(const GuardState& state);
GuardState guard_state_of(const nlohmann::json& json);

}  // namespace hg
