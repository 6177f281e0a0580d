// What a report is about: runs and sweeps from whatever is named on the command line.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/report/run_record.h"
#include "train/report/sweep_file.h"

namespace hg {

struct ReportSources {
  std::vector<ReportRun> runs;
  std::vector<SweepFile> sweeps;
  std::vector<ReportProblem> problems;  ///< what was left out, and why
};

struct ReadOptions {
  std::optional<std::string> loss_tag = {};  ///< of TensorBoard files
};

/// Each path is by its content one of
/// - a run folder (with a metrics.jsonl), or a folder with such folders in it;
/// - a sweep folder (with a sweep.json): all of its points;
/// - TensorBoard's event file, or a folder with some;
/// - JSON lines or a table with step and loss, as read_loss_series() reads them.
/// What cannot be read is a problem, and the rest is read. Runs have different names: where two
/// folders are called alike, their parents' names stand in front.
ReportSources read_report_sources(const std::vector<std::filesystem::path>& paths,
                                  const ReadOptions& options = {});

}  // namespace hg
