#include "train/report/sources.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/check.h"
#include "core/parallel.h"
#include "train/metrics/metrics.h"
#include "train/report/event_file.h"
#include "train/report/run_folder.h"
#include "train/spikes/loss_series.h"

namespace hg {
namespace {

namespace fs = std::filesystem;

/// A run that is still to be read.
struct Source {
  fs::path path;
  std::optional<std::string> name = {};
  const ReportedPoint* point = nullptr;
  std::string sweep = {};
};

bool is_run_folder(const fs::path& path) { return fs::exists(path / "metrics.jsonl"); }

bool has_event_files(const fs::path& folder) {
  return std::ranges::any_of(fs::directory_iterator(folder),
                             [](const auto& entry) { return is_event_file(entry.path()); });
}

ReportRun read_table(const fs::path& path) {
  const LossSeries losses = read_loss_series(path);
  ReportRun run;
  run.path = path;
  run.name = path.stem().string();
  run.source = "table";
  Series &loss = run.series[metric::kLoss], norm;
  for (const LossPoint& point : losses.points) {
    const auto step = static_cast<double>(point.step);
    loss.add(step,
             std::isfinite(point.loss) ? point.loss : std::numeric_limits<double>::quiet_NaN());
    if (!std::isnan(point.grad_norm)) norm.add(step, point.grad_norm);
  }
  if (!norm.empty()) run.series[metric::kGradNorm] = std::move(norm);
  if (losses.unsorted.count > 0) run.remarks.push_back("steps were not in order: sorted");
  if (losses.repeated.count > 0)
    run.remarks.push_back(
        fmt::format("{} steps were there twice: the last line counts", losses.repeated.count));
  if (losses.missing_steps > 0)
    run.remarks.push_back(fmt::format("{} steps are missing: spike scores are not of every step",
                                      losses.missing_steps));
  run.remarks.push_back("a table: on which data it was trained is unknown");
  run.status = status_of(run);
  judge_spikes(run);
  return run;
}

ReportRun read_run(const fs::path& path, const ReadOptions& options) {
  HG_CHECK(fs::exists(path), "{}: there is no such file or folder", path.string());
  if (is_run_folder(path)) return read_run_folder(path);
  if (!fs::is_directory(path) && !is_event_file(path)) return read_table(path);
  HG_CHECK(!fs::is_directory(path) || has_event_files(path),
           "{}: neither a run folder (metrics.jsonl), a sweep (sweep.json), nor a folder of "
           "TensorBoard's",
           path.string());
  return read_event_run(path, options.loss_tag);
}

/// The runs of a sweep. Those that have not begun are problems; of those that failed, what there is
/// is shown.
void add_sweep(const SweepFile& sweep, std::vector<Source>& sources,
               std::vector<ReportProblem>& problems) {
  for (const ReportedPoint& point : sweep.points) {
    if (point.status == "waiting") {
      problems.push_back({point.name, "has not begun"});
    } else if (point.status == "failed" && !is_run_folder(point.run)) {
      problems.push_back({point.name, "failed: " + point.reason});
    } else {
      sources.push_back({point.run, point.name, &point, sweep.name});
    }
  }
}

void place_in_sweep(ReportRun& run, const Source& source) {
  run.name = *source.name;
  const ReportedPoint& point = *source.point;
  run.sweep = {.sweep = source.sweep,
               .variant = point.variant,
               .lr = point.lr,
               .status = point.status,
               .reason = point.reason};
  run.status = status_of(run);
  const auto& [status, reason] = std::tie(point.status, point.reason);
  if (status == "diverged" || status == "failed")
    run.remarks.push_back(status + (reason.empty() ? "" : ": " + reason));
}

/// Errors begin with the file, which need not be said twice.
ReportProblem problem_with(const std::string& what, const std::string& error) {
  const bool twice = error.starts_with(what + ": ");
  return {what, twice ? error.substr(what.size() + 2) : error};
}

void make_names_unique(std::vector<ReportRun>& runs) {
  const auto names = [&] {
    std::map<std::string, int> counts;
    for (const ReportRun& run : runs) ++counts[run.name];
    return counts;
  };
  const auto once = names();
  for (ReportRun& run : runs) {
    if (once.at(run.name) == 1) continue;
    const fs::path parent = fs::weakly_canonical(run.path).parent_path().filename();
    run.name = parent.string() + "/" + run.name;
  }
  std::map<std::string, int> seen;
  const auto twice = names();
  for (ReportRun& run : runs) {
    if (twice.at(run.name) > 1) run.name += fmt::format(" ({})", ++seen[run.name]);
  }
}

}  // namespace

ReportSources read_report_sources(const std::vector<fs::path>& paths, const ReadOptions& options) {
  ReportSources result;
  result.sweeps.reserve(paths.size());  // sources point into it
  std::vector<Source> sources;
  for (const fs::path& path : paths) {
    try {
      if (fs::exists(path / "sweep.json")) {
        result.sweeps.push_back(read_sweep_file(path));
        add_sweep(result.sweeps.back(), sources, result.problems);
        continue;
      }
      std::vector<fs::path> inside;
      if (fs::is_directory(path) && !is_run_folder(path)) {
        for (const auto& entry : fs::directory_iterator(path)) {
          if (entry.is_directory() && is_run_folder(entry.path())) inside.push_back(entry.path());
        }
      }
      std::ranges::sort(inside);
      if (inside.empty()) inside.push_back(path);
      for (fs::path& run : inside) sources.push_back({std::move(run)});
    } catch (const std::exception& error) {
      result.problems.push_back(problem_with(path.string(), error.what()));
    }
  }
  std::vector<std::optional<ReportRun>> runs(sources.size());
  std::vector<std::string> reasons(sources.size());
  parallel_for(std::ssize(sources), [&](std::int64_t task) {
    const auto i = static_cast<std::size_t>(task);
    try {
      runs[i] = read_run(sources[i].path, options);
      if (sources[i].point != nullptr) place_in_sweep(*runs[i], sources[i]);
    } catch (const std::exception& error) {
      reasons[i] = error.what();
    }
  });
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (runs[i]) {
      result.runs.push_back(std::move(*runs[i]));
    } else {
      result.problems.push_back(
          problem_with(sources[i].name.value_or(sources[i].path.string()), reasons[i]));
    }
  }
  make_names_unique(result.runs);
  return result;
}

}  // namespace hg
