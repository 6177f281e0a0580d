// Curves over steps: loss, gradient norm, throughput; and the spikes in them.
#include <algorithm>
#include <cmath>

#include "train/metrics/metrics.h"
#include "train/report/sections.h"

namespace hg {
namespace {

/// Parts of a chart's width, each of which keeps its extremes; and bins of medians.
constexpr std::size_t kBuckets = 400, kBins = 100;

struct Steps {
  double first, last;
};

/// Over which runs have the metric; first > last if none has.
Steps steps_of(const SectionInput& input, std::string_view metric) {
  Steps steps{.first = std::numeric_limits<double>::infinity(), .last = 0};
  for (const ReportRun& run : input.runs) {
    const Series& series = run.of(metric);
    if (series.empty()) continue;
    steps.first = std::min(steps.first, series.steps.front());
    steps.last = std::max(steps.last, series.steps.back());
  }
  return steps;
}

/// A line for each run that has the metric: `make` of its series.
PageChart lines_of(const SectionInput& input, std::string_view metric, PageChart chart,
                   auto&& make) {
  chart.x_label = "step";
  for (std::size_t r = 0; r < input.runs.size(); ++r) {
    const Series& series = input.runs[r].of(metric);
    if (series.empty()) continue;
    chart.lines.push_back(
        {.name = input.runs[r].name, .group = input.grouping.group_of[r], .points = make(series)});
  }
  return chart;
}

/// Ends the chart above the highest value of runs that did not diverge: beside hundreds of nats,
/// all others would look alike. Lines of those that did leave it at the top.
PageChart in_sight(const SectionInput& input, std::string_view metric, PageChart chart) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const ReportRun& run : input.runs) {
    if (run.status == ReportRun::Status::diverged) continue;
    for (const double value : run.of(metric).values) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (high > low) chart.y_max = high + (high - low) * 0.05;
  return chart;
}

/// The loss in the second half, its height set by all but the highest 2 % of the points: spikes go
/// out of the frame, and differences show.
PageChart second_half(const SectionInput& input, const Steps& steps) {
  const double middle = (steps.first + steps.last) / 2;
  PageChart chart =
      lines_of(input, metric::kLoss,
               {.title = "Second half, enlarged", .x_label = "", .y_label = "loss (nats)"},
               [&](const Series& series) {
                 return downsample(smooth(series), middle, steps.last, kBuckets);
               });
  std::vector<double> values;
  for (const ChartLine& line : chart.lines) {
    for (const double value : line.points.values) {
      if (std::isfinite(value)) values.push_back(value);
    }
  }
  if (values.empty()) return chart;
  std::ranges::sort(values);
  const double low = values.front(), high = values[(values.size() - 1) * 98 / 100];
  const double margin = std::max(high - low, 1e-3) * 0.05;
  chart.y_min = low - margin;
  chart.y_max = high + margin;
  return chart;
}

PageChart raw_loss(const SectionInput& input, const Steps& steps) {
  PageChart chart = lines_of(
      input, metric::kLoss,
      {.title = "Every step, spikes marked", .x_label = "", .y_label = "loss (nats)"},
      [&](const Series& series) { return downsample(series, steps.first, steps.last, kBuckets); });
  for (ChartLine& line : chart.lines) line.style = ChartLine::Style::faint;
  for (std::size_t r = 0; r < input.runs.size(); ++r) {
    ChartLine marks{.name = input.runs[r].name + ", spikes",
                    .group = input.grouping.group_of[r],
                    .style = ChartLine::Style::points};
    for (const SpikeEvent& event : input.runs[r].spikes) {
      if (std::isfinite(event.loss)) marks.points.add(static_cast<double>(event.peak), event.loss);
    }
    if (!marks.points.empty()) chart.lines.push_back(std::move(marks));
  }
  return chart;
}

/// Binned medians over [first, last], averaged over the runs of a group that have a loss.
std::optional<Series> group_medians(const SectionInput& input, std::size_t group,
                                    const Steps& steps, std::size_t bins) {
  std::vector<Series> medians;
  for (const std::size_t r : input.grouping.groups[group].runs) {
    const Series& loss = input.runs[r].of(metric::kLoss);
    if (input.runs[r].status != ReportRun::Status::diverged)
      medians.push_back(binned_medians(loss, steps.first, steps.last, bins));
  }
  return medians.empty() ? std::nullopt : std::optional(mean_of(medians));
}

PageChart differences(const SectionInput& input, const Steps& steps) {
  const std::size_t baseline = input.grouping.baseline;
  PageChart chart{.title = fmt::format("Difference to {}", input.grouping.groups[baseline].name),
                  .x_label = "step",
                  .y_label = "difference of the loss (nats)"};
  const auto bins = std::min(kBins, static_cast<std::size_t>((steps.last - steps.first) / 5) + 1);
  const auto reference = group_medians(input, baseline, steps, bins);
  if (!reference) return chart;
  for (std::size_t g = 0; g < input.grouping.groups.size(); ++g) {
    if (g == baseline) continue;
    const auto medians = group_medians(input, g, steps, bins);
    if (medians)
      chart.lines.push_back({.name = input.grouping.groups[g].name,
                             .group = g,
                             .points = difference(*medians, *reference)});
  }
  return chart;
}

}  // namespace

PageChart metric_chart(const SectionInput& input, std::string_view metric, std::string title,
                       std::string y_label, double scale) {
  const Steps steps = steps_of(input, metric);
  return lines_of(input, metric,
                  {.title = std::move(title), .x_label = "", .y_label = std::move(y_label)},
                  [&](const Series& series) {
                    Series points = downsample(series, steps.first, steps.last, kBuckets);
                    for (double& value : points.values) value *= scale;
                    return points;
                  });
}

ReportSection loss_section(const SectionInput& input) {
  const Steps steps = steps_of(input, metric::kLoss);
  ReportSection section{
      .id = "loss",
      .title = "Loss",
      .lead =
          "Training loss as in figure 1 of arXiv 2505.06708: an exponential moving average of "
          "every step (0.9 of the old, 0.1 of the new). Charts keep the highest and the lowest "
          "value of each part of their width, so no spike is lost; they end above the highest loss "
          "of the runs that did not diverge. Differences are of medians over parts of the run, "
          "averaged over seeds."};
  section.charts.push_back(in_sight(
      input, metric::kLoss,
      lines_of(input, metric::kLoss, {.title = "Smoothed", .x_label = "", .y_label = "loss (nats)"},
               [&](const Series& series) {
                 return downsample(smooth(series), steps.first, steps.last, kBuckets);
               })));
  section.charts.push_back(second_half(input, steps));
  if (input.grouping.groups.size() > 1) section.charts.push_back(differences(input, steps));
  section.charts.push_back(in_sight(input, metric::kLoss, raw_loss(input, steps)));
  PageChart validation =
      in_sight(input, metric::kValidationLoss,
               metric_chart(input, metric::kValidationLoss, "Validation", "loss (nats)"));
  if (!validation.lines.empty()) section.charts.push_back(std::move(validation));
  return section;
}

ReportSection spike_section(const SectionInput& input) {
  constexpr std::size_t kMost = 100;
  ReportSection section{.id = "spikes", .title = "Loss spikes"};
  Table table{.id = "spikes",
              .title = "Spike events",
              .columns = {{"run", "run", true},
                          {"kind", "kind", true},
                          {"start", "first step"},
                          {"peak", "peak"},
                          {"steps", "steps"},
                          {"loss", "loss at the peak"},
                          {"height", "height (nats)"},
                          {"z", "z"}},
              .note =
                  "By the median and the median absolute deviation of the last 100 losses "
                  "(docs/metrics.md). Scores by other definitions are in the tables above."};
  std::vector<std::pair<std::size_t, SpikeEvent>> events;
  bool judged = false;
  for (std::size_t r = 0; r < input.runs.size(); ++r) {
    const std::size_t steps = input.runs[r].of(metric::kLoss).size();
    judged = judged || static_cast<std::int64_t>(steps) > SpikeDetector::kWindow;
    for (const SpikeEvent& event : input.runs[r].spikes) events.emplace_back(r, event);
  }
  if (events.empty()) {
    section.absent =
        judged ? "No run has a spike."
               : "No run is long enough: spikes are looked for behind the first 100 steps.";
    return section;
  }
  const std::size_t all = events.size();
  if (all > kMost) {
    const auto height = [](const auto& e) {
      return std::isfinite(e.second.loss) ? e.second.height
                                          : std::numeric_limits<double>::infinity();
    };
    std::ranges::stable_sort(events, std::ranges::greater(), height);
    events.resize(kMost);
    std::ranges::stable_sort(events, {},
                             [](const auto& e) { return std::pair(e.first, e.second.start); });
  }
  section.lead = all > kMost ? fmt::format("The {} highest of {} events.", kMost, all)
                             : fmt::format("{} event{}.", all, all == 1 ? "" : "s");
  for (const auto& [r, event] : events) {
    const bool finite = event.kind != SpikeEvent::Kind::not_finite;
    table.add_row({{input.runs[r].name},
                   {std::string(name_of(event.kind)) + (event.open ? ", not over" : "")},
                   number_cell(static_cast<double>(event.start), "{:.0f}"),
                   number_cell(static_cast<double>(event.peak), "{:.0f}"),
                   number_cell(static_cast<double>(event.steps()), "{:.0f}"),
                   number_cell(event.loss, "{:.4f}"),
                   finite ? number_cell(event.height, "{:.4f}") : TableCell{"-"},
                   finite ? number_cell(event.z, "{:.1f}") : TableCell{"-"}});
    table.families.push_back(static_cast<int>(input.group_of(r).family));
  }
  section.tables.push_back(std::move(table));
  return section;
}

ReportSection gradient_section(const SectionInput& input) {
  ReportSection section{.id = "gradients", .title = "Gradient norm"};
  PageChart norm = metric_chart(input, metric::kGradNorm, "Before clipping", "gradient norm");
  if (norm.lines.empty()) {
    section.absent = "No run has gradient norms.";
    return section;
  }
  section.lead =
      "The norm of the gradient of the mean loss over all parameters; and of the last 300 "
      "steps, how many were clipped.";
  norm.log_y = true;
  section.charts.push_back(std::move(norm));
  PageChart clipped = metric_chart(input, metric::kClipRate, "Clipped", "clipped steps (%)");
  clipped.y_min = 0;
  clipped.y_max = 100;
  if (!clipped.lines.empty()) section.charts.push_back(std::move(clipped));
  return section;
}

ReportSection throughput_section(const SectionInput& input) {
  ReportSection section{.id = "throughput", .title = "Throughput"};
  const auto medians = [&](const char* metric, const char* title, const char* label) {
    const Steps steps = steps_of(input, metric);
    PageChart chart = lines_of(input, metric, {.title = title, .x_label = "", .y_label = label},
                               [&](const Series& series) {
                                 return binned_medians(series, steps.first, steps.last, kBins);
                               });
    chart.y_min = 0;
    if (!chart.lines.empty()) section.charts.push_back(std::move(chart));
  };
  medians(metric::kTotalTokensPerSecond, "Speed of all ranks", "tokens/s");
  medians(metric::kMfu, "Model FLOPs utilisation", "MFU (%)");
  if (section.charts.empty()) {
    section.absent = "No run says how fast it was.";
  } else {
    section.lead = "Medians over hundredths of the run.";
  }
  return section;
}

}  // namespace hg
