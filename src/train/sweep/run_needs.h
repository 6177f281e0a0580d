// What each run of a sweep takes of a machine: processes, and a GPU for each of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/sweep/points.h"

namespace hg {

struct RunNeeds {
  std::int64_t ranks = 1;  ///< processes of a run
  std::int64_t gpus = 0;   ///< of a run: one for each rank; 0 if no run computes on any
};

/// Throws if nobody knows: `launcher` is given, which may start any number of processes, but not
/// `ranks`.
RunNeeds needs_of(const Sweep& sweep);

/// Throws if a point's layout does not fit the number of ranks, as far as that is known.
void check_layouts(const Sweep& sweep);

/// The words in front of `headgate train`: `launcher`, or mpirun for several ranks.
std::vector<std::string> launcher_words(const SweepConfig& config);

/// The GPUs that this process may use, by what CUDA_VISIBLE_DEVICES calls them: those that it says
/// already, or else all that CUDA counts, "0", "1", ... Throws one sentence if CUDA finds none.
std::vector<std::string> visible_gpus();

/// For each of `jobs` runs at a time the GPUs that are its own, as CUDA_VISIBLE_DEVICES has them:
/// "0,1", "2,3". Throws if there are too few.
std::vector<std::string> share_gpus(std::span<const std::string> gpus, std::int64_t each,
                                    std::int64_t jobs);

}  // namespace hg
