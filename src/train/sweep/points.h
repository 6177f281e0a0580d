// A sweep file as the list of its runs, each with its whole config, before anything starts.
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/config.h"
#include "train/sweep/axes.h"

namespace hg {

/// One run of a sweep.
struct SweepPoint {
  std::string name;               ///< of its folder: "elementwise-lr0.003-seed1"
  std::string variant;            ///< its labels on all axes but learning rate and seed; or "base"
  nlohmann::ordered_json values;  ///< by axis; of times_best also optimizer.lr
  std::vector<std::string> overrides;  ///< on top of the base config, as --set takes them
  RunConfig config;                    ///< resolved
  std::string resolved;                ///< the same as YAML, with origins
};

struct Sweep {
  std::string path;  ///< of the sweep file
  SweepConfig config;
  std::string base;              ///< the base config's path
  std::filesystem::path folder;  ///< runs/, results/, sweep.json and sweep.csv
  std::vector<SweepAxis> axes;
  std::vector<SweepPoint> points;

  std::filesystem::path run_folder(const SweepPoint& point) const {
    return folder / "runs" / point.name;
  }
  std::filesystem::path config_file(const SweepPoint& point) const {
    return folder / "configs" / (point.name + ".yaml");
  }
  std::filesystem::path log_file(const SweepPoint& point) const {
    return folder / "logs" / (point.name + ".log");
  }
  std::filesystem::path result_file(const SweepPoint& point) const {
    return folder / "results" / (point.name + ".json");
  }
};

/// Reads a sweep file and composes and checks every run's config. Throws one Error that names what
/// is wrong, by file, line and key: unknown keys, empty and repeated axes, two runs of one name,
/// constraints that match nothing or leave nothing, layouts that do not fit the ranks. Nothing is
/// written.
Sweep load_sweep(const std::string& path);

/// What there is to say of a sweep that is valid, before it takes hours: empty, or a sentence on
/// runs that cannot be compared, as they have no held-out data.
std::string warning_about(const Sweep& sweep);

/// Throws if the sweep's folder belongs to another sweep: if it has a run that this one has not, or
/// one whose config differs. A sweep may gain points.
void check_folder(const Sweep& sweep);

/// Checks the folder, and writes the runs' configs into it.
void prepare_folder(const Sweep& sweep);

}  // namespace hg
