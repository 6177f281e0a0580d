// Programs under mpirun, for tests with real processes.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#include "support/finish.h"

namespace hg::test {

/// What mpirun is called with, more ranks than cores or not; it and its ranks die after so long.
inline std::string mpirun_for(int seconds) {
  return fmt::format(
      "ASAN_OPTIONS=detect_leaks=0 timeout -s KILL {} mpirun --allow-run-as-root --oversubscribe "
      "--bind-to none",
      seconds);
}
inline const std::string kMpirun = mpirun_for(60);

/// Skips the test where there are no MPI processes to be had.
inline void need_mpirun() {
#if defined(HEADGATE_STD_THREADS)
  GTEST_SKIP() << "ThreadSanitizer does not see what MPI does";
#endif
  if (std::system("mpirun --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "mpirun is missing: scripts/install-dependencies installs it";
}

}  // namespace hg::test
