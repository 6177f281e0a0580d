// The results of a sweep: sweep.json, sweep.csv, and the table of variants.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "train/sweep/lr_sensitivity.h"
#include "train/sweep/point_result.h"
#include "train/sweep/points.h"

namespace hg {

/// Of each point of the sweep, in its order.
using SweepResults = std::vector<PointResult>;

/// What is recorded in the sweep's folder; waiting where nothing is.
SweepResults read_results(const Sweep& sweep);

struct VariantSummary {
  std::string name;
  LrSummary lrs;
};
/// In the order in which variants first appear.
std::vector<VariantSummary> summarize_variants(const Sweep& sweep, const SweepResults& results);

/// The content of sweep.json, version 1 (docs/sweeps.md). It holds nothing that a repetition on the
/// same machine would change.
nlohmann::ordered_json sweep_json(const Sweep& sweep, const SweepResults& results);
/// A line per point: where it stands on the axes, and all numbers, tokens per second among them.
std::string sweep_csv(const Sweep& sweep, const SweepResults& results);
/// A line per variant, for people; and one that says so if their learning rates differ.
std::string variants_text(const std::vector<VariantSummary>& variants);

/// Writes sweep.json and sweep.csv.
void write_results(const Sweep& sweep, const SweepResults& results);

}  // namespace hg
