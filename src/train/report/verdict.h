// What the groups of a report come to, and how they differ from the baseline.
#pragma once

#include <span>

#include "train/report/groups.h"
#include "train/report/run_numbers.h"
#include "train/report/statistics.h"

namespace hg {

struct GroupVerdict {
  /// Of these runs numbers are averaged: those that diverged are none of them, nor those that are
  /// unfinished, unless all are.
  std::vector<std::size_t> counted;
  std::size_t diverged = 0, unfinished = 0;
  bool on_validation = true;  ///< what is compared: the last validation loss, or the training loss
  Spread loss;                ///< of it
  Difference difference;      ///< to the baseline's
  std::string words;          ///< "lower", "not distinguishable", or why nothing can be said
  /// Which comparison with the baseline the group is left out of, and why; empty: none.
  std::string left_out;
};

/// [group]. Losses are compared at the same length alone: as many tokens, or steps where tokens are
/// not known; and of sequences of the same length (training.seq_len). Validation losses are
/// compared if both sides have them, over as many targets where that is known; else training
/// losses.
std::vector<GroupVerdict> judge_groups(const std::vector<ReportRun>& runs,
                                       const std::vector<RunNumbers>& numbers,
                                       const Grouping& grouping);

/// The spread of one number over the runs that count.
Spread spread_over(const GroupVerdict& group, const std::vector<RunNumbers>& numbers,
                   double RunNumbers::*value);

}  // namespace hg
