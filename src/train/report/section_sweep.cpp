// Loss over learning rates, of sweeps.
#include <algorithm>
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

/// "8, 0.001 to 3"
std::string grid_text(const SweepVariant& variant) {
  const std::vector<double>& grid = variant.grid;
  return grid.empty() ? "-"
                      : fmt::format("{}, {:g} to {:g}", grid.size(), grid.front(), grid.back());
}

Table variant_table(const SweepFile& sweep) {
  Table table{.id = "sweep-" + sweep.name,
              .title = "Sweep " + sweep.name,
              .columns = {{"variant", "variant", true},
                          {"best_lr", "best learning rate"},
                          {"best_validation_loss", "its validation loss"},
                          {"largest_stable_lr", "largest stable learning rate"},
                          {"lr_sensitivity", "LR sensitivity of means over seeds"},
                          {"lr_sensitivity_of_seeds", "LR sensitivity of a seed"},
                          {"standard_error", "SE"},
                          {"learning_rates", "learning rates", true},
                          {"seeds", "seeds"}},
              .note =
                  "LR sensitivity (arXiv 2309.14322): the mean over learning rates of the loss, at "
                  "most that before training, minus the lowest of them. Of means over seeds: with "
                  "the mean loss of a learning rate's seeds. Of a seed: with each seed's own "
                  "losses, then the mean over seeds and its standard error (SE)."};
  for (const SweepVariant& variant : sweep.variants) {
    const Spread seeds = spread_of(variant.sensitivity_of_seeds);
    table.add_row({{variant.name},
                   number_cell(or_unknown(variant.best_lr), "{:g}"),
                   number_cell(or_unknown(variant.best_validation_loss), "{:.4f}"),
                   number_cell(or_unknown(variant.largest_stable_lr), "{:g}"),
                   number_cell(or_unknown(variant.lr_sensitivity), "{:.4f}"),
                   number_cell(seeds.mean, "{:.4f}"),
                   number_cell(seeds.standard_error, "{:.4f}"),
                   {grid_text(variant)},
                   number_cell(static_cast<double>(variant.seeds.size()), "{:.0f}")});
  }
  return table;
}

/// How the sensitivity of a variant differs from that of the baseline, or why nothing can be said.
std::string compare_sensitivity(const SweepVariant& variant, const SweepVariant& baseline) {
  if (variant.grid != baseline.grid)
    return fmt::format(
        "The LR sensitivities of {} and {} do not compare: they are over learning rates {} and "
        "{}{}.",
        variant.name, baseline.name, grid_text(variant), grid_text(baseline),
        grid_text(variant) == grid_text(baseline) ? ", others between" : "");
  const Spread own = spread_of(variant.sensitivity_of_seeds);
  const Difference difference = compare(own, spread_of(baseline.sensitivity_of_seeds));
  return fmt::format("{}: LR sensitivity of a seed {:.4f}, {:.4f} {} than {}{}", variant.name,
                     own.mean, std::abs(difference.value),
                     difference.value < 0 ? "lower" : "higher", baseline.name,
                     chance_text(difference));
}

}  // namespace

ReportSection sweep_section(const SectionInput& input) {
  ReportSection section{.id = "sweep", .title = "Learning rates"};
  for (const SweepFile& sweep : input.sweeps) {
    if (!sweep.variants.empty()) section.tables.push_back(variant_table(sweep));
    const auto baseline =
        std::ranges::find(sweep.variants, input.grouping.families.front(), &SweepVariant::name);
    for (const SweepVariant& variant : sweep.variants) {
      if (baseline == sweep.variants.end() || &variant == &*baseline || variant.grid.empty())
        continue;
      section.findings.push_back(compare_sensitivity(variant, *baseline));
    }
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
