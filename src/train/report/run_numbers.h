// The numbers that stand for a whole run in tables.
#pragma once

#include <cmath>
#include <limits>
#include <span>

#include "train/report/run_record.h"

namespace hg {

inline constexpr double kNotKnown = std::numeric_limits<double>::quiet_NaN();

/// NaN: not known. Looks are averaged over the last ten, as docs/results does.
struct RunNumbers {
  double steps = kNotKnown;
  double tokens = kNotKnown;
  double parameters = kNotKnown;
  double initial_validation_loss = kNotKnown;
  double validation_loss = kNotKnown;       ///< the last behind step 0
  double best_validation_loss = kNotKnown;  ///< the lowest behind step 0
  double validation_targets = kNotKnown;    ///< tokens that validation losses are means over
  double training_loss = kNotKnown;         ///< mean of the last 100 values
  double spike_events = kNotKnown;          ///< not known before the detector's burn-in is over
  double spike_score_olmo2 = kNotKnown;     ///< percent
  double spike_score_core = kNotKnown;      ///< percent
  double spikes_median201 = kNotKnown;      ///< per 10,000 steps
  double max_grad_norm = kNotKnown;
  double first_token_share = kNotKnown;  ///< percent
  double gate_mean = kNotKnown;
  double gate_below_01 = kNotKnown;  ///< percent
  double m_act = kNotKnown;
  double max_activation = kNotKnown;  ///< of all looks
  double max_logit = kNotKnown;       ///< of all looks
  double max_load = kNotKnown;
  double load_entropy = kNotKnown;
  double dead_experts = kNotKnown;
  double tokens_per_second = kNotKnown;  ///< median over steps
  double mfu = kNotKnown;                ///< percent, median
  double hours = kNotKnown;              ///< of all steps together

  /// What runs are ordered by where they are not compared: the validation loss, or without one the
  /// training loss.
  double loss() const { return std::isnan(validation_loss) ? training_loss : validation_loss; }
};

/// How a table shows one of them; see number_cell().
struct RunNumber {
  const char *key, *name, *format;
  double RunNumbers::*value;
};

RunNumbers numbers_of(const ReportRun& run);

/// All of them, in the order of tables.
std::span<const RunNumber> run_numbers();

}  // namespace hg
