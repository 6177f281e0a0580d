// Programs that tests start.
#pragma once

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

}  // namespace hg::test
