// Which runs of a report are seeds of the same, and what they are compared with.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/report/run_record.h"

namespace hg {

/// Runs that differ in nothing but their seed, and where and how they were computed and logged.
struct RunGroup {
  std::string name;
  std::vector<std::size_t> runs;
  std::size_t family = 0;  ///< what shares a colour: the group itself; of a sweep, its variant
  double shade = 0;        ///< within the family, from 0 to 1: by learning rate
};

struct Grouping {
  std::vector<RunGroup> groups;
  std::size_t baseline = 0;
  std::vector<std::string> families;
  std::vector<std::size_t> group_of;  ///< [run]
};

/// Groups in the order of their first runs, the baseline's family first. The baseline is the group
/// that `baseline` names, a run's name or its own; without one the first whose config has no gate
/// (the lowest final validation loss among several of a sweep), else the first. Throws if there is
/// none of that name.
Grouping group_runs(const std::vector<ReportRun>& runs,
                    const std::optional<std::string>& baseline = {});

/// Takes those runs out whose losses cannot be compared with the one called `reference`: with
/// another vocabulary or tokenizer, or another held-out text, by the names of their files. Runs
/// without a config stay, and so do all if the reference has none.
std::vector<ReportProblem> remove_incompatible(std::vector<ReportRun>& runs,
                                               const std::string& reference);

}  // namespace hg
