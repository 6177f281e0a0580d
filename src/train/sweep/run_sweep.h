// Running the points of a sweep on this machine, some at a time, each as a process of its own.
#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>

#include "train/sweep/sweep_results.h"

namespace hg {

struct SweepOptions {
  std::filesystem::path program;         ///< headgate
  std::int64_t jobs = 1;                 ///< runs at a time
  std::FILE* console = nullptr;          ///< what happens, for the person who watches
  std::function<bool()> stop = {};       ///< asked ten times a second: whether to end early
  std::optional<std::size_t> only = {};  ///< the one point to run
};

/// Runs every point that has not ended yet, or has failed; a run that was killed continues from its
/// newest checkpoint. Diverged runs are ended early. sweep.json and sweep.csv are written whenever
/// a run ends, unless `only` one point runs, beside others on other machines.
/// Throws if it was stopped; what was done until then is kept.
SweepResults run_sweep(const Sweep& sweep, const SweepOptions& options);

}  // namespace hg
