// Reading sweep.json, which `headgate sweep` writes.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace hg {

struct ReportedPoint {
  std::string name;
  std::filesystem::path run;  ///< as it can be opened
  std::string variant;
  std::optional<double> lr;
  std::int64_t seed = 0;
  std::string status, reason;  ///< "waiting", "running", "finished", "diverged" or "failed"; why
  std::optional<double> initial_loss, final_validation_loss;
};

/// What a sweep says of a variant; what is not known is empty.
struct SweepVariant {
  std::string name;
  std::optional<double> best_lr, best_validation_loss, largest_stable_lr, lr_sensitivity;
  /// Of its points: the learning rates that the sensitivity is over, its seeds, and what the
  /// sensitivity of each seed alone is.
  std::vector<double> grid = {};
  std::vector<std::int64_t> seeds = {};
  std::vector<double> sensitivity_of_seeds = {};
};

struct SweepFile {
  std::string name;
  std::vector<ReportedPoint> points = {};
  std::vector<SweepVariant> variants = {};
};

/// Reads FOLDER/sweep.json. Throws if it is not of version 1 or lacks what a report needs.
SweepFile read_sweep_file(const std::filesystem::path& folder);

}  // namespace hg
