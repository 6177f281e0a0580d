// Sweeps on a cluster: files that start every point as a task of its own.
#pragma once

#include <string>

#include "train/sweep/points.h"

namespace hg {

// Both throw where needs_of() does.

/// A Slurm script, to be submitted where the sweep was checked: an array with a task per point,
/// `jobs` at a time, each with `threads` cores for each of its ranks, on one node; and on GPUs with
/// one for each rank.
std::string slurm_script(const Sweep& sweep);

/// A Kubernetes Indexed Job with a pod per point, `jobs` at a time, with the same.
std::string kubernetes_job(const Sweep& sweep);

}  // namespace hg
