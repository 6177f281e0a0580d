#include "train/report/report.h"

#include "core/check.h"
#include "train/report/sections.h"

namespace hg {
namespace {

std::string list_problems(const std::vector<ReportProblem>& problems) {
  std::string list;
  for (const auto& [what, reason] : problems) list += fmt::format("\n  {}: {}", what, reason);
  return list;
}

/// Only run folders have weights to look into.
void draw_attention_maps(const SectionInput& input, std::vector<ReportRun>& runs,
                         const ReportOptions& options) {
  for (const std::size_t r : representatives(input)) {
    if (runs[r].config.empty()) continue;
    try {
      runs[r].attention_maps = options.attention_maps(runs[r]);
    } catch (const std::exception& error) {
      runs[r].remarks.push_back(fmt::format("no attention maps: {}", error.what()));
    }
  }
}

}  // namespace

Report make_report(ReportSources sources, const ReportOptions& options) {
  HG_CHECK(!sources.runs.empty(), "there is nothing to report on:{}",
           list_problems(sources.problems));
  std::vector<ReportRun>& runs = sources.runs;
  Report report{.title = options.title};
  report.grouping = group_runs(runs, options.baseline);
  const std::size_t reference = report.grouping.groups[report.grouping.baseline].runs.front();
  report.problems = std::move(sources.problems);
  for (ReportProblem& problem : remove_incompatible(runs, std::string(runs[reference].name)))
    report.problems.push_back(std::move(problem));
  report.grouping = group_runs(runs, options.baseline);

  std::vector<RunNumbers> numbers;
  for (const ReportRun& run : runs) numbers.push_back(numbers_of(run));
  const SectionInput input{runs, numbers, report.grouping, sources.sweeps};
  if (options.attention_maps) draw_attention_maps(input, runs, options);
  for (std::size_t r = 0; r < runs.size(); ++r) {
    report.runs.push_back({runs[r].name, report.grouping.group_of[r]});
    for (const std::string& remark : runs[r].remarks)
      report.remarks.push_back({runs[r].name, remark});
  }
  report.sections = {
      verdict_section(input),     loss_section(input),       spike_section(input),
      gradient_section(input),    attention_section(input),  attention_map_section(input),
      gate_section(input),        activation_section(input), expert_section(input),
      sweep_section(input),       throughput_section(input), config_section(input),
      reproduction_section(input)};
  return report;
}

}  // namespace hg
