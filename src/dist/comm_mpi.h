// Ranks as processes that MPI connects, with tensors in host memory.
#pragma once

#include <memory>

#include "dist/comm.h"

namespace hg {

/// Loads and starts MPI, and ends it with the communicator; once per process. Only this call, the
/// end, and the moment within `split` when all ranks have come wait inside MPI; everywhere else an
/// interrupt is noticed, and the processor is given away while waiting. abort ends the processes
/// with exit code 1.
///
/// Sums do not use MPI's reductions: pieces travel to the rank that adds them, in rank order. So
/// the promise of Comm about bits holds for every MPI and every choice of algorithm inside it.
std::unique_ptr<Comm> mpi_world();

/// abort of a world over MPI, with another exit code. Does not return.
[[noreturn]] void abort_mpi(Comm& world, int exit_code);

}  // namespace hg
