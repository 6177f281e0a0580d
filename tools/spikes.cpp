// headgate spikes: scores and events of loss curves, from run folders and other programs' tables.
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "commands.h"
#include "core/check.h"
#include "train/spikes/loss_series.h"
#include "train/spikes/spikes.h"

namespace hg::tools {
namespace {

using Json = nlohmann::ordered_json;

struct SpikesOptions {
  std::vector<std::string> files;
  bool json = false;
  std::size_t most_events = 20;
};

/// A share, and how to say it.
struct Score {
  const char* key;
  const char* name;
  Share share;
  double scale;
  const char* unit;
  const char* needs;
};

std::vector<Score> list_scores(const SpikeScores& scores) {
  constexpr const char *kPercent = "%", *kPer10k = "per 10k";
  constexpr const char *k1000 = "more than 1000 values", *k128 = "more than 128 values";
  return {
      {"olmo2", "olmo2, loss", scores.olmo2, 100, kPercent, k1000},
      {"olmo2_grad_norm", "olmo2, grad_norm", scores.olmo2_grad_norm, 100, kPercent, k1000},
      {"core", "core, loss", scores.core, 100, kPercent, k128},
      {"core_grad_norm", "core, grad_norm", scores.core_grad_norm, 100, kPercent, k128},
      {"median201", "median201, loss", scores.median201, 1e4, kPer10k, "201 values"},
  };
}

/// What LossSeries says about its file, and what became of it.
struct Remark {
  const char* key;
  const char* name;
  const LossSeries::Lines& lines;
  std::string outcome;
};

std::vector<Remark> list_remarks(const LossSeries& series) {
  return {
      {"not_finite", "losses that are not finite", series.not_finite,
       "events of their own, in no score"},
      {"not_positive", "losses of 0 or less", series.not_positive, "in scores, not in events"},
      {"unsorted", "steps below the line before", series.unsorted, "sorted"},
      {"repeated", "steps that were there before", series.repeated, "the last line counts"},
      {"gaps", "gaps", series.gaps,
       fmt::format("{} steps missing; windows count values, not steps", series.missing_steps)},
      {"unfinished", "unfinished line at the end", series.unfinished, "ignored"},
  };
}

std::vector<SpikeEvent> all_events(const SpikeMonitor& monitor) {
  std::vector<SpikeEvent> events = monitor.events().ended();
  const auto open = monitor.events().open();
  events.insert(events.end(), open.begin(), open.end());
  std::ranges::stable_sort(events, {}, &SpikeEvent::start);
  return events;
}

void print_remark(const Remark& remark) {
  if (remark.lines.count == 0) return;
  std::string lines;
  for (const std::int64_t line : remark.lines.first) {
    lines += fmt::format("{}{}", lines.empty() ? "" : ", ", line);
  }
  const bool more = remark.lines.count > std::ssize(remark.lines.first);
  fmt::print("  {}: {} (line {}{}), {}\n", remark.name, remark.lines.count, lines,
             more ? ", ..." : "", remark.outcome);
}

void print_score(const Score& score) {
  if (score.share.values == 0) {
    fmt::print("  {:<18} {:>10} {:<8} needs {}\n", score.name, "-", "", score.needs);
    return;
  }
  fmt::print("  {:<18} {:>10.4f} {:<8} {} of {}\n", score.name, score.share.per(score.scale),
             score.unit, score.share.outliers, score.share.values);
}

/// The `most` highest events, in order of their steps.
void print_events(std::vector<SpikeEvent> events, std::size_t most) {
  fmt::print("  events by median and MAD: {}", events.size());
  if (events.size() > most) {
    fmt::print(", the {} highest of them", most);
    const auto height = [](const SpikeEvent& e) {
      return std::isfinite(e.loss) ? e.height : std::numeric_limits<double>::infinity();
    };
    std::ranges::stable_sort(events, std::ranges::greater(), height);
    events.resize(most);
    std::ranges::stable_sort(events, {}, &SpikeEvent::start);
  }
  fmt::print("\n");
  if (events.empty()) return;
  fmt::print("    {:<10} {:>10} {:>10} {:>8} {:>10} {:>10} {:>8}\n", "kind", "start", "peak",
             "steps", "loss", "height", "z");
  for (const SpikeEvent& event : events) {
    fmt::print("    {:<10} {:>10} {:>10} {:>8} {:>10.4f}", name_of(event.kind), event.start,
               event.peak, event.steps(), event.loss);
    if (event.kind != SpikeEvent::Kind::not_finite) {
      fmt::print(" {:>10.4f} {:>8.1f}", event.height, event.z);
    }
    fmt::print("{}\n", event.open ? "  not over" : "");
  }
}

void print_report(const std::string& file, const LossSeries& series, std::size_t most_events) {
  const SpikeMonitor monitor = monitor_spikes(series.points);
  fmt::print("{}: {} steps, {} to {}\n", file, series.points.size(), series.points.front().step,
             series.points.back().step);
  for (const Remark& remark : list_remarks(series)) print_remark(remark);
  for (const Score& score : list_scores(monitor.scores())) print_score(score);
  print_events(all_events(monitor), most_events);
  if (!monitor.events().ready())
    fmt::print("  (spikes are looked for behind the first {} values)\n", SpikeDetector::kWindow);
}

Json json_report(const std::string& file, const LossSeries& series) {
  const SpikeMonitor monitor = monitor_spikes(series.points);
  Json report = {{"file", file},
                 {"steps", series.points.size()},
                 {"first_step", series.points.front().step},
                 {"last_step", series.points.back().step}};
  for (const Remark& remark : list_remarks(series)) {
    report["remarks"][remark.key] = {{"count", remark.lines.count},
                                     {"first_lines", remark.lines.first}};
  }
  report["remarks"]["gaps"]["missing_steps"] = series.missing_steps;
  for (const Score& score : list_scores(monitor.scores())) {
    report["scores"][score.key] = {{"value", score.share.per(score.scale)},  // NaN becomes null
                                   {"unit", score.unit},
                                   {"outliers", score.share.outliers},
                                   {"values", score.share.values}};
  }
  report["events"] = Json::array();
  for (const SpikeEvent& event : all_events(monitor)) {
    report["events"].push_back({{"kind", name_of(event.kind)},
                                {"start", event.start},
                                {"peak", event.peak},
                                {"steps", event.steps()},
                                {"open", event.open},
                                {"loss", event.loss},
                                {"height", event.height},
                                {"z", event.z},
                                {"tokens_before", event.tokens_before},
                                {"tokens_after", event.tokens_after}});
  }
  return report;
}

void report(const SpikesOptions& options) {
  Json reports = Json::array();
  bool first = true;
  for (const std::string& file : options.files) {
    const LossSeries series = read_loss_series(file);
    if (options.json) {
      reports.push_back(json_report(file, series));
      continue;
    }
    if (!std::exchange(first, false)) fmt::print("\n");
    print_report(file, series, options.most_events);
  }
  if (options.json) fmt::print("{}\n", reports.dump(2));
}

}  // namespace

void add_spikes(CLI::App& app) {
  auto* command = app.add_subcommand("spikes", "Scores and events of loss curves");
  const auto options = std::make_shared<SpikesOptions>();
  command
      ->add_option("files", options->files,
                   "Run folders, metrics.jsonl, or tables of step, loss and perhaps grad_norm")
      ->required();
  command->add_option("--events", options->most_events, "Events shown of each file, the highest");
  command->add_flag("--json", options->json, "The same as JSON, with all events");
  command->callback([options] { report(*options); });
}

}  // namespace hg::tools
