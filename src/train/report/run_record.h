// A run as a report sees it, wherever it came from.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/metrics/metrics.h"
#include "train/report/series.h"
#include "train/spikes/spikes.h"

namespace hg {

/// Where a run stands in a sweep.
struct SweepPlace {
  std::string sweep, variant;
  std::optional<double> lr;
};

struct ReportRun {
  enum class Status { unknown, finished, unfinished, diverged };

  std::string name;            ///< that of its folder or file; unique in a report
  std::filesystem::path path;  ///< as given
  std::string source;          ///< "run folder", "table", "TensorBoard"
  Status status = Status::unknown;
  std::vector<std::string> remarks;  ///< what readers should know, in sentences without a stop

  std::map<std::string, std::string> config;  ///< resolved values by path; empty if there is none
  std::string config_text;                    ///< config.yaml as it is
  nlohmann::json machine;                     ///< machine.json; null if there is none
  /// By names of docs/metrics.md, whatever the source calls them; those that charts need.
  std::map<std::string, Series, std::less<>> series;
  std::map<std::string, double, std::less<>> parameters;     ///< "total", "active", kinds
  std::vector<std::pair<std::int64_t, std::string>> events;  ///< what the run itself said, by step
  /// The newest line of instruments.jsonl; null if there is none.
  nlohmann::json look;
  std::string attention_maps;  ///< SVG; may be empty

  SpikeScores spike_scores;
  std::vector<SpikeEvent> spikes;  ///< by their start, those that are not over included
  std::optional<SweepPlace> sweep;

  /// Empty if the run has no such series.
  const Series& of(std::string_view metric) const;
  /// The config's value, or `absent`.
  std::string setting(const std::string& path, const std::string& absent = "") const;
  std::string seed() const { return setting("training.seed"); }
};

const char* name_of(ReportRun::Status status);

/// What could not be read or compared, and why.
struct ReportProblem {
  std::string what, reason;
};

}  // namespace hg
