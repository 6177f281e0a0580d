// Runs ranks as threads of this process: what tests of parallel training stand on.
#pragma once

#include <functional>

#include "dist/comm.h"

namespace hg {

/// Runs fn(comm) once on each of `size` ranks, each a thread that has itself alone for parallel_for
/// and for libraries. When a rank throws, the others' collectives throw, too. A watchdog ends a
/// collective that is pending for `timeout` seconds. Afterwards throws Error with the first cause:
/// "rank 1: ...". parallel_for keeps to one thread in the whole process meanwhile.
void run_ranks(int size, const std::function<void(Comm&)>& fn, double timeout = 120);

}  // namespace hg
