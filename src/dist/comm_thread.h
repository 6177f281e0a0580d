// Ranks as threads of one process: parallel training in an ordinary test.
#pragma once

#include <memory>
#include <vector>

#include "dist/comm.h"

namespace hg {

/// The communicators of a new world of `size` ranks, by rank; each is for a thread of its own. See
/// run_ranks.h for the threads.
std::vector<std::unique_ptr<Comm>> thread_world(int size);

}  // namespace hg
