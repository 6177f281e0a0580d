#include "train/report/verdict.h"

#include <fmt/ranges.h>

#include <cmath>
#include <set>

namespace hg {
namespace {

void count_runs(const std::vector<ReportRun>& runs, const RunGroup& group, GroupVerdict& verdict) {
  using Status = ReportRun::Status;
  std::vector<std::size_t> unfinished;
  for (const std::size_t r : group.runs) {
    if (runs[r].status == Status::diverged) {
      ++verdict.diverged;
    } else if (runs[r].status == Status::unfinished) {
      unfinished.push_back(r);
    } else {
      verdict.counted.push_back(r);
    }
  }
  verdict.unfinished = unfinished.size();
  if (verdict.counted.empty()) verdict.counted = unfinished;
}

/// Tokens or steps of the runs that count, if all have the same; else NaN.
double length_of(const GroupVerdict& group, const std::vector<RunNumbers>& numbers,
                 double RunNumbers::*value) {
  double length = kNotKnown;
  for (const std::size_t r : group.counted) {
    const double here = numbers[r].*value;
    if (r != group.counted.front() && here != length) return kNotKnown;
    length = here;
  }
  return length;
}

bool same_length(const GroupVerdict& a, const GroupVerdict& b,
                 const std::vector<RunNumbers>& numbers) {
  const auto lengths = [&](double RunNumbers::*value) {
    return std::pair(length_of(a, numbers, value), length_of(b, numbers, value));
  };
  const auto tokens = lengths(&RunNumbers::tokens), steps = lengths(&RunNumbers::steps);
  const bool known = std::isfinite(tokens.first) && std::isfinite(tokens.second);
  return known ? tokens.first == tokens.second : steps.first == steps.second;
}

std::string words_of(const Difference& difference) {
  const std::string direction = difference.value < 0   ? "lower"
                                : difference.value > 0 ? "higher"
                                                       : "equal";
  switch (difference.verdict) {
    case Difference::Verdict::unknown:
      return direction + "; too few seeds to tell";
    case Difference::Verdict::not_distinguishable:
      return "not distinguishable";
    case Difference::Verdict::distinguishable:
      return direction;
  }
  return "";
}

/// The values of the runs that count, each once: "128", or "2560 or 25600". Empty: none is known.
std::string values_of(const GroupVerdict& group, auto&& value_of_run) {
  std::set<std::string> values;
  for (const std::size_t r : group.counted) {
    if (std::string value = value_of_run(r); !value.empty()) values.insert(std::move(value));
  }
  return fmt::format("{}", fmt::join(values, " or "));
}

/// Why two sides do not compare of which one has `own` and one `theirs`; empty if they do, or if
/// one of the two is not known.
std::string mismatch(const char* what, const std::string& own, const std::string& theirs) {
  const bool known = !own.empty() && !theirs.empty();
  const bool alike = own == theirs && own.find(" or ") == std::string::npos;
  return !known || alike ? "" : fmt::format("{} {}, there {}", what, own, theirs);
}

void compare_with(const GroupVerdict& baseline, const std::vector<ReportRun>& runs,
                  const std::vector<RunNumbers>& numbers, GroupVerdict& group) {
  if (group.counted.empty()) {
    group.words = "diverged";
    return;
  }
  if (baseline.counted.empty()) {
    group.words = "the baseline diverged";
    return;
  }
  if (!same_length(group, baseline, numbers)) {
    group.words = "of another length";
    group.left_out = "losses are not compared: after another number of tokens or steps";
    return;
  }
  const auto differs = [&](const char* what, auto&& value_of_run) {
    return mismatch(what, values_of(group, value_of_run), values_of(baseline, value_of_run));
  };
  const std::string sequences = differs(
      "training.seq_len is", [&](std::size_t r) { return runs[r].setting("training.seq_len"); });
  if (!sequences.empty()) {
    group.words = "of other sequences";
    group.left_out = "losses are not compared: " + sequences;
    return;
  }
  const auto value_of = [&](const GroupVerdict& g, double RunNumbers::*value) {
    return spread_over(g, numbers, value);
  };
  const Spread other = value_of(baseline, &RunNumbers::validation_loss);
  group.on_validation = group.on_validation && other.count > 0;
  const std::string targets = differs("tokens validated on are", [&](std::size_t r) {
    const double count = numbers[r].validation_targets;
    return std::isfinite(count) ? fmt::format("{:.0f}", count) : "";
  });
  if (group.on_validation && !targets.empty()) {
    group.on_validation = false;
    group.left_out = "validation losses are not compared, but training losses: " + targets;
  }
  if (!group.on_validation) group.loss = value_of(group, &RunNumbers::training_loss);
  group.difference = compare(
      group.loss, group.on_validation ? other : value_of(baseline, &RunNumbers::training_loss));
  group.words = words_of(group.difference);
  if (!group.on_validation && baseline.on_validation) group.words += " (training loss)";
}

}  // namespace

std::vector<GroupVerdict> judge_groups(const std::vector<ReportRun>& runs,
                                       const std::vector<RunNumbers>& numbers,
                                       const Grouping& grouping) {
  std::vector<GroupVerdict> verdicts(grouping.groups.size());
  for (std::size_t g = 0; g < verdicts.size(); ++g) {
    GroupVerdict& verdict = verdicts[g];
    count_runs(runs, grouping.groups[g], verdict);
    verdict.loss = spread_over(verdict, numbers, &RunNumbers::validation_loss);
    verdict.on_validation = verdict.loss.count > 0;
    if (!verdict.on_validation)
      verdict.loss = spread_over(verdict, numbers, &RunNumbers::training_loss);
  }
  for (std::size_t g = 0; g < verdicts.size(); ++g) {
    if (g == grouping.baseline) {
      verdicts[g].words = "baseline";
    } else {
      compare_with(verdicts[grouping.baseline], runs, numbers, verdicts[g]);
    }
  }
  return verdicts;
}

Spread spread_over(const GroupVerdict& group, const std::vector<RunNumbers>& numbers,
                   double RunNumbers::*value) {
  std::vector<double> values;
  for (const std::size_t r : group.counted) values.push_back(numbers[r].*value);
  return spread_of(values);
}

}  // namespace hg
