// Programs under mpirun, for tests with real processes.
#pragma once

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "core/check.h"
#include "core/clock.h"

namespace hg::test {

struct Finished {
  int exit_code;
  std::string output;  // of both streams
  double seconds;
};

/// Runs a shell command to its end.
inline Finished finish(const std::string& command) {
  const Clock::time_point start = Clock::now();
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  HG_CHECK(pipe != nullptr, "cannot start {}", command);
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t bytes = std::fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), bytes);
  const int status = pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output, seconds_since(start)};
}

/// What mpirun is called with, more ranks than cores or not; it and its ranks die after a minute.
inline constexpr const char* kMpirun =
    "ASAN_OPTIONS=detect_leaks=0 timeout -s KILL 60 mpirun --allow-run-as-root --oversubscribe "
    "--bind-to none";

/// Skips the test where there are no MPI processes to be had.
inline void need_mpirun() {
#if defined(HEADGATE_STD_THREADS)
  GTEST_SKIP() << "ThreadSanitizer does not see what MPI does";
#endif
  if (std::system("mpirun --version > /dev/null 2>&1") != 0)
    GTEST_SKIP() << "mpirun is missing: scripts/install-dependencies installs it";
}

}  // namespace hg::test
