// The sections of a report, each made from all runs. One that no run has data for says so.
#pragma once

#include "core/check.h"
#include "train/report/report.h"
#include "train/report/run_numbers.h"

namespace hg {

struct SectionInput {
  const std::vector<ReportRun>& runs;
  const std::vector<RunNumbers>& numbers;  ///< [run]
  const Grouping& grouping;
  const std::vector<SweepFile>& sweeps;

  const RunGroup& group_of(std::size_t run) const {
    return grouping.groups[grouping.group_of[run]];
  }
};

ReportSection verdict_section(const SectionInput& input);
ReportSection loss_section(const SectionInput& input);
ReportSection spike_section(const SectionInput& input);
ReportSection gradient_section(const SectionInput& input);
ReportSection attention_section(const SectionInput& input);
ReportSection attention_map_section(const SectionInput& input);
ReportSection gate_section(const SectionInput& input);
ReportSection activation_section(const SectionInput& input);
ReportSection expert_section(const SectionInput& input);
ReportSection sweep_section(const SectionInput& input);
ReportSection throughput_section(const SectionInput& input);
ReportSection config_section(const SectionInput& input);
ReportSection reproduction_section(const SectionInput& input);

/// Of each family the run with the lowest final loss, in the order of families: what stands for it
/// where there is no room for all.
std::vector<std::size_t> representatives(const SectionInput& input);

/// A line for each run that has the metric, downsampled over the steps of all.
PageChart metric_chart(const SectionInput& input, std::string_view metric, std::string title,
                       std::string y_label, double scale = 1);

}  // namespace hg
