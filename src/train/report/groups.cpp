#include "train/report/groups.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <regex>

#include "core/check.h"
#include "train/metrics/metrics.h"
#include "train/report/statistics.h"

namespace hg {
namespace {

/// Keys in which seeds of the same experiment may differ: they change no result, or, as the seed,
/// are what is varied.
bool is_incidental(std::string_view key) {
  constexpr std::string_view kKeys[] = {"name", "training.seed", "training.threads",
                                        "training.replica_check_interval"};
  return std::ranges::find(kKeys, key) != std::end(kKeys) || key.starts_with("checkpoint.") ||
         key.starts_with("metrics.") || key == "validation.interval";
}

/// Runs with the same are seeds of the same.
std::string identity_of(const ReportRun& run) {
  if (run.config.empty()) return "path " + run.path.string();
  std::string identity = run.sweep ? run.sweep->sweep + "\n" + run.sweep->variant : "";
  for (const auto& [key, value] : run.config) {
    if (!is_incidental(key)) identity += fmt::format("\n{}: {}", key, value);
  }
  return identity;
}

/// What the names of a group's runs begin with, without "-seed1".
std::string common_name(const std::vector<ReportRun>& runs, const std::vector<std::size_t>& group) {
  const std::string& first = runs[group.front()].name;
  if (group.size() == 1) return first;
  std::size_t length = first.size();
  for (const std::size_t r : group) {
    const auto end = std::ranges::mismatch(first, runs[r].name).in1;
    length = std::min(length, static_cast<std::size_t>(end - first.begin()));
  }
  const std::regex seed("([-_./ =]+(seed|s)?[-_./ =]*[0-9]*|seed[-_./ =]*[0-9]*)$");
  const std::string name = std::regex_replace(first.substr(0, length), seed, "");
  return name.empty() ? first : name;
}

double validation_loss(const std::vector<ReportRun>& runs, const RunGroup& group) {
  std::vector<double> losses;
  for (const std::size_t r : group.runs)
    losses.push_back(last_of(runs[r].of(metric::kValidationLoss)));
  return spread_of(losses).mean;
}

std::size_t choose_baseline(const std::vector<ReportRun>& runs, const std::vector<RunGroup>& groups,
                            const std::optional<std::string>& wanted) {
  if (wanted) {
    std::string names;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      const auto named = [&](std::size_t r) { return runs[r].name == *wanted; };
      if (groups[g].name == *wanted || std::ranges::any_of(groups[g].runs, named)) return g;
      names += (names.empty() ? "" : ", ") + groups[g].name;
    }
    fail("--baseline {}: there is no such run; there are {}", *wanted, names);
  }
  std::optional<std::size_t> best;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const ReportRun& run = runs[groups[g].runs.front()];
    if (run.setting("model.attention.gate.position") != "none") continue;
    const bool lower = best && run.sweep &&
                       validation_loss(runs, groups[g]) < validation_loss(runs, groups[*best]);
    if (!best || lower) best = g;
  }
  return best.value_or(0);
}

std::string family_of(const ReportRun& run, const RunGroup& group) {
  if (!run.sweep) return group.name;
  return run.sweep->variant.empty() ? run.sweep->sweep : run.sweep->variant;
}

/// Within each family, by learning rate, from 0 to 1.
void set_shades(const std::vector<ReportRun>& runs, Grouping& grouping) {
  for (std::size_t f = 0; f < grouping.families.size(); ++f) {
    std::vector<RunGroup*> members;
    for (RunGroup& group : grouping.groups) {
      if (group.family == f) members.push_back(&group);
    }
    std::ranges::stable_sort(members, {}, [&](const RunGroup* group) {
      const auto& sweep = runs[group->runs.front()].sweep;
      return sweep ? sweep->lr.value_or(0) : 0;
    });
    for (std::size_t i = 1; i < members.size(); ++i)
      members[i]->shade = static_cast<double>(i) / static_cast<double>(members.size() - 1);
  }
}

}  // namespace

Grouping group_runs(const std::vector<ReportRun>& runs,
                    const std::optional<std::string>& baseline) {
  HG_CHECK(!runs.empty(), "there is no run to report on");
  Grouping grouping;
  std::map<std::string, std::size_t> known;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    const auto [at, is_new] = known.emplace(identity_of(runs[r]), grouping.groups.size());
    if (is_new) grouping.groups.emplace_back();
    grouping.groups[at->second].runs.push_back(r);
    grouping.group_of.push_back(at->second);
  }
  std::map<std::string, int> names;
  for (RunGroup& group : grouping.groups) {
    group.name = common_name(runs, group.runs);
    if (const int before = names[group.name]++; before > 0)
      group.name += fmt::format(" ({})", before + 1);
  }
  grouping.baseline = choose_baseline(runs, grouping.groups, baseline);
  const auto family = [&](const RunGroup& group) {
    return family_of(runs[group.runs.front()], group);
  };
  grouping.families = {family(grouping.groups[grouping.baseline])};
  for (RunGroup& group : grouping.groups) {
    const auto at = std::ranges::find(grouping.families, family(group));
    group.family = static_cast<std::size_t>(at - grouping.families.begin());
    if (at == grouping.families.end()) grouping.families.push_back(family(group));
  }
  set_shades(runs, grouping);
  return grouping;
}

std::vector<ReportProblem> remove_incompatible(std::vector<ReportRun>& runs,
                                               const std::string& reference) {
  const auto at = std::ranges::find(runs, reference, &ReportRun::name);
  HG_CHECK(at != runs.end(), "there is no run {} to compare with", reference);
  const std::map<std::string, std::string> config = at->config;
  std::vector<ReportProblem> problems;
  if (config.empty()) return problems;
  std::erase_if(runs, [&](const ReportRun& run) {
    if (run.config.empty()) return false;
    for (const char* key : {"model.vocab_size", "data.tokenizer", "data.validation"}) {
      const auto name = [&](const std::string& path) {
        return std::filesystem::path(path).filename().string();
      };
      const auto there = config.find(key);
      const std::string theirs = there == config.end() ? "" : name(there->second);
      const std::string own = name(run.setting(key));
      if (own == theirs) continue;
      problems.push_back({run.name, fmt::format("its loss cannot be compared with that of {}: {} "
                                                "is {}, there it is {}",
                                                reference, key, own.empty() ? "not set" : own,
                                                theirs.empty() ? "not set" : theirs)});
      return true;
    }
    return false;
  });
  return problems;
}

}  // namespace hg
