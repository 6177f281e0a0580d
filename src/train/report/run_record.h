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

/// Of validations: how many tokens the loss is a mean over.
inline constexpr char kValidationTargets[] = "validation_metrics/targets";

/// Where a run stands in a sweep, and what became of it there.
struct SweepPlace {
  std::string sweep, variant;
  std::optional<double> lr;
  std::string status = {}, reason = {};  ///< as in sweep.json
};

/// The end that the guard put to a run, by the last line of its events.jsonl.
struct GuardStop {
  std::int64_t step = 0;  ///< whose update was not made; a run that came past it went on
  std::string kind;       ///< "not_finite" or "spike"
};

struct ReportRun {
  enum class Status { unknown, finished, unfinished, diverged };

  std::string name;                  ///< that of its folder or file; unique in a report
  std::filesystem::path path;        ///< as given
  std::string source;                ///< "run folder", "table", "TensorBoard"
  Status status = Status::unknown;   ///< status_of(*this)
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
  std::optional<GuardStop> guard_stop;

  /// Empty if the run has no such series.
  const Series& of(std::string_view metric) const;
  /// The config's value, or `absent`.
  std::string setting(const std::string& path, const std::string& absent = "") const;
  std::string seed() const { return setting("training.seed"); }
};

const char* name_of(ReportRun::Status status);

/// What became of a run. It diverged if its sweep says so, if its last loss is not finite, or if
/// the guard stopped it behind its last step. Else it is finished if it has all steps that its
/// config asks for; without a config nothing is known.
ReportRun::Status status_of(const ReportRun& run);

/// What could not be read or compared, and why.
struct ReportProblem {
  std::string what, reason;
};

}  // namespace hg
