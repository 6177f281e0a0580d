// Loss over learning rates, of sweeps.
#include <cmath>
#include <map>

#include "train/report/run_numbers.h"
#include "train/report/sections.h"
#include "train/report/statistics.h"

namespace hg {
namespace {

/// The group that a variant's runs are drawn as: any of its family.
std::size_t group_of_variant(const SectionInput& input, const std::string& variant) {
  for (std::size_t g = 0; g < input.grouping.groups.size(); ++g) {
    if (input.grouping.families[input.grouping.groups[g].family] == variant) return g;
  }
  return input.grouping.baseline;
}

double or_unknown(const std::optional<double>& value) { return value.value_or(kNotKnown); }

PageChart loss_over_rates(const SectionInput& input, const SweepFile& sweep) {
  PageChart chart{.title = sweep.name,
                  .x_label = "learning rate",
                  .y_label = "validation loss (nats)",
                  .log_x = true,
                  .by_family = true};
  std::map<std::string, std::map<double, std::vector<double>>> finished;
  std::map<std::string, Series> diverged;
  for (const ReportedPoint& point : sweep.points) {
    if (!point.lr) continue;
    const bool gone = point.status == "diverged";
    if (gone && point.initial_loss) diverged[point.variant].add(*point.lr, *point.initial_loss);
    if (!gone && point.final_validation_loss)
      finished[point.variant][*point.lr].push_back(*point.final_validation_loss);
  }
  const auto name = [&](const std::string& variant) {
    return variant.empty() ? sweep.name : variant;
  };
  for (const auto& [variant, rates] : finished) {
    ChartLine line{.name = name(variant), .group = group_of_variant(input, name(variant))};
    for (const auto& [lr, losses] : rates) line.points.add(lr, spread_of(losses).mean);
    ChartLine seeds{.name = name(variant) + ", each seed",
                    .group = line.group,
                    .style = ChartLine::Style::points};
    for (const auto& [lr, losses] : rates) {
      for (const double loss : losses) seeds.points.add(lr, loss);
    }
    chart.lines.push_back(std::move(line));
    chart.lines.push_back(std::move(seeds));
  }
  for (auto& [variant, points] : diverged) {
    chart.lines.push_back({.name = name(variant) + ", diverged",
                           .group = group_of_variant(input, name(variant)),
                           .style = ChartLine::Style::crosses,
                           .points = std::move(points)});
  }
  return chart;
}

Table variant_table(const SweepFile& sweep) {
  Table table{.id = "sweep-" + sweep.name,
              .title = "Sweep " + sweep.name,
              .columns = {{"variant", "variant", true},
                          {"best_lr", "best learning rate"},
                          {"best_validation_loss", "its validation loss"},
                          {"largest_stable_lr", "largest stable learning rate"},
                          {"lr_sensitivity", "LR sensitivity"},
                          {"lr_range", "over", true}},
              .note =
                  "LR sensitivity (arXiv 2309.14322): the mean over learning rates of the loss, at "
                  "most that before training, minus the lowest of them."};
  for (const SweepVariant& variant : sweep.variants) {
    std::string range = "-";
    if (variant.lr_range.size() == 2)
      range = fmt::format("{:g} to {:g}", variant.lr_range[0], variant.lr_range[1]);
    table.add_row({{variant.name},
                   number_cell(or_unknown(variant.best_lr), "{:g}"),
                   number_cell(or_unknown(variant.best_validation_loss), "{:.4f}"),
                   number_cell(or_unknown(variant.largest_stable_lr), "{:g}"),
                   number_cell(or_unknown(variant.lr_sensitivity), "{:.4f}"),
                   {range}});
  }
  return table;
}

}  // namespace

ReportSection sweep_section(const SectionInput& input) {
  ReportSection section{.id = "sweep", .title = "Learning rates"};
  for (const SweepFile& sweep : input.sweeps) {
    if (!sweep.variants.empty()) section.tables.push_back(variant_table(sweep));
    PageChart chart = loss_over_rates(input, sweep), finished = chart;
    if (chart.lines.empty()) continue;
    // Beside the losses of runs that diverged, others look alike.
    const auto diverged = std::erase_if(finished.lines, [](const ChartLine& line) {
      return line.style == ChartLine::Style::crosses;
    });
    finished.title += ", those that finished";
    section.charts.push_back(std::move(chart));
    if (diverged > 0 && !finished.lines.empty()) section.charts.push_back(std::move(finished));
  }
  if (section.charts.empty() && section.tables.empty()) {
    section.absent = "No sweep with points that have finished is among the runs.";
  } else {
    section.lead =
        "The last validation loss for each learning rate, means over seeds. A cross stands "
        "for a run that diverged, at its loss before training.";
  }
  return section;
}

}  // namespace hg
