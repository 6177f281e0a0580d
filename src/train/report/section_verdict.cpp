// What the gate changed, in one table and a sentence for each variant.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "train/report/sections.h"
#include "train/report/verdict.h"

namespace hg {
namespace {

constexpr const char* kNote =
    "Mean over seeds, ± standard error (SE) where there are two or more. A difference can be told "
    "from "
    "chance if it is larger than t(0.975, n1 + n2 - 2) times its standard error (Student's t test "
    "at "
    "5 %, spreads of both sides pooled); with fewer than two seeds on a side nothing can be told. "
    "Validation loss is the last one, training loss the mean of the last 100 steps; what "
    "instruments "
    "saw is the mean of the last ten looks; rates are medians over steps. Runs that diverged are "
    "not averaged, nor are unfinished ones beside finished ones.";

/// "3.3387 ± 0.0021"
TableCell spread_cell(const Spread& spread, const char* format) {
  TableCell cell = number_cell(spread.mean, format);
  if (spread.standard_error > 0)
    cell.text += " ± " + number_cell(spread.standard_error, format).text;
  return cell;
}

std::string seeds_text(const RunGroup& group, const GroupVerdict& verdict) {
  std::string text = fmt::format("{}", group.runs.size());
  if (verdict.diverged > 0) text += fmt::format(", {} diverged", verdict.diverged);
  if (verdict.unfinished > 0) text += fmt::format(", {} unfinished", verdict.unfinished);
  return text;
}

/// Numbers that the table of groups shows behind the loss.
bool is_verdict_number(const RunNumber& number) {
  constexpr std::string_view kKeys[] = {"training_loss",
                                        "spike_events",
                                        "spike_score_olmo2",
                                        "spike_score_core",
                                        "max_grad_norm",
                                        "first_token_share",
                                        "gate_mean",
                                        "gate_below_0.1",
                                        "m_act",
                                        "load_entropy",
                                        "tokens_per_second",
                                        "mfu",
                                        "hours",
                                        "tokens"};
  return std::ranges::find(kKeys, number.key) != std::end(kKeys);
}

Table group_table(const SectionInput& input, const std::vector<GroupVerdict>& verdicts) {
  const std::vector<RunNumbers>& numbers = input.numbers;
  Table table{.id = "verdict", .title = "Variants", .columns = {}, .note = kNote};
  table.columns = {
      {"variant", "variant", true}, {"seeds", "seeds", true},
      {"loss", "validation loss"},  {"standard_error", "SE"},
      {"difference", "difference"}, {"difference_standard_error", "SE of the difference"},
      {"verdict", "verdict", true}};
  const auto validated = [&](const GroupVerdict& verdict) {
    return spread_over(verdict, numbers, &RunNumbers::validation_loss).count > 0;
  };
  const bool any_validated = std::ranges::any_of(verdicts, validated);
  if (!any_validated) table.columns[2].name = "training loss";
  std::vector<RunNumber> shown;
  for (const RunNumber& number : run_numbers()) {
    const bool known = std::ranges::any_of(verdicts, [&](const GroupVerdict& verdict) {
      return spread_over(verdict, numbers, number.value).count > 0;
    });
    if (!known || !is_verdict_number(number)) continue;
    shown.push_back(number);
    table.columns.push_back({number.key, number.name});
  }
  for (std::size_t g = 0; g < verdicts.size(); ++g) {
    const GroupVerdict& verdict = verdicts[g];
    const Spread loss =
        spread_over(verdict, numbers,
                    any_validated ? &RunNumbers::validation_loss : &RunNumbers::training_loss);
    std::vector<TableCell> row = {{input.grouping.groups[g].name},
                                  {seeds_text(input.grouping.groups[g], verdict)},
                                  number_cell(loss.mean, "{:.4f}"),
                                  number_cell(loss.standard_error, "{:.4f}"),
                                  number_cell(verdict.difference.value, "{:+.4f}"),
                                  number_cell(verdict.difference.standard_error, "{:.4f}"),
                                  {verdict.words}};
    for (const RunNumber& number : shown)
      row.push_back(spread_cell(spread_over(verdict, numbers, number.value), number.format));
    table.add_row(std::move(row));
    table.families.push_back(static_cast<int>(input.grouping.groups[g].family));
  }
  return table;
}

Table run_table(const SectionInput& input) {
  const std::vector<RunNumbers>& numbers = input.numbers;
  Table table{.id = "runs", .title = "Runs", .columns = {}};
  table.columns = {{"run", "run", true},
                   {"variant", "variant", true},
                   {"seed", "seed", true},
                   {"learning_rate", "learning rate"},
                   {"status", "status", true}};
  std::vector<RunNumber> shown;
  for (const RunNumber& number : run_numbers()) {
    if (std::ranges::none_of(numbers,
                             [&](const RunNumbers& n) { return std::isfinite(n.*number.value); }))
      continue;
    shown.push_back(number);
    table.columns.push_back({number.key, number.name});
  }
  for (std::size_t r = 0; r < numbers.size(); ++r) {
    const ReportRun& run = input.runs[r];
    const std::string lr = run.setting("optimizer.lr");
    std::vector<TableCell> row = {{run.name},
                                  {input.group_of(r).name},
                                  {run.seed()},
                                  {lr.empty() ? "-" : lr},
                                  {name_of(run.status)}};
    if (!lr.empty()) row[3].number = std::strtod(lr.c_str(), nullptr);
    for (const RunNumber& number : shown)
      row.push_back(number_cell(numbers[r].*number.value, number.format));
    table.add_row(std::move(row));
    table.families.push_back(static_cast<int>(input.group_of(r).family));
  }
  return table;
}

/// The group of each other family with the lowest loss, as far as losses can be compared.
std::vector<std::size_t> best_groups(const SectionInput& input,
                                     const std::vector<GroupVerdict>& verdicts) {
  std::vector<std::size_t> best(input.grouping.families.size(), verdicts.size());
  for (std::size_t g = 0; g < verdicts.size(); ++g) {
    const bool same_family = input.grouping.groups[g].family == 0;  // the baseline's
    if (same_family || std::isnan(verdicts[g].difference.value)) continue;
    std::size_t& now = best[input.grouping.groups[g].family];
    if (now == verdicts.size() || verdicts[g].loss.mean < verdicts[now].loss.mean) now = g;
  }
  std::erase(best, verdicts.size());
  return best;
}

std::string sentence(const SectionInput& input, const std::vector<GroupVerdict>& verdicts,
                     std::size_t g) {
  const Difference& difference = verdicts[g].difference;
  const std::string& baseline = input.grouping.groups[input.grouping.baseline].name;
  return fmt::format("{}: {} loss {:.4f}, {:.4f} {} than {}{}", input.grouping.groups[g].name,
                     verdicts[g].on_validation ? "validation" : "training", verdicts[g].loss.mean,
                     std::abs(difference.value), difference.value < 0 ? "lower" : "higher",
                     baseline, chance_text(difference));
}

/// A sentence for each comparison that groups are left out of: which ones, and why.
std::vector<std::string> left_out(const SectionInput& input,
                                  const std::vector<GroupVerdict>& verdicts) {
  std::map<std::string, std::string> names;  // by reason
  for (std::size_t g = 0; g < verdicts.size(); ++g) {
    if (verdicts[g].left_out.empty()) continue;
    std::string& list = names[verdicts[g].left_out];
    list += (list.empty() ? "" : ", ") + input.grouping.groups[g].name;
  }
  const std::string& baseline = input.grouping.groups[input.grouping.baseline].name;
  std::vector<std::string> sentences;
  for (const auto& [reason, list] : names)
    sentences.push_back(fmt::format("{} and {}: {}.", list, baseline, reason));
  return sentences;
}

}  // namespace

ReportSection verdict_section(const SectionInput& input) {
  const auto verdicts = judge_groups(input.runs, input.numbers, input.grouping);
  const std::size_t runs = input.runs.size(), variants = verdicts.size();
  ReportSection section{
      .id = "verdict",
      .title = "Verdict",
      .lead = fmt::format("{} run{} of {} variant{}; differences are to {}.", runs,
                          runs == 1 ? "" : "s", variants, variants == 1 ? "" : "s",
                          input.grouping.groups[input.grouping.baseline].name)};
  for (const std::size_t g : best_groups(input, verdicts))
    section.findings.push_back(sentence(input, verdicts, g));
  std::ranges::move(left_out(input, verdicts), std::back_inserter(section.findings));
  section.tables = {group_table(input, verdicts), run_table(input)};
  return section;
}

std::vector<std::size_t> representatives(const SectionInput& input) {
  std::vector<std::size_t> chosen(input.grouping.families.size(), input.runs.size());
  for (std::size_t r = 0; r < input.runs.size(); ++r) {
    std::size_t& now = chosen[input.group_of(r).family];
    const bool better =
        now == input.runs.size() || (input.runs[r].status != ReportRun::Status::diverged &&
                                     !(input.numbers[r].loss() >= input.numbers[now].loss()));
    if (better) now = r;
  }
  return chosen;
}

}  // namespace hg
