// Programs that tests start.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <string>

#include "core/check.h"

namespace hg::test {

struct Result {
  int exit_code;
  std::string output;  // of both streams
};

/// Runs a command line to its end.
inline Result run_program(const std::string& command) {
  std::FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  HG_CHECK(pipe != nullptr, "cannot start {}", command);
  std::string output;
  std::array<char, 4096> buffer;
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
    output.append(buffer.data(), n);
  return {WEXITSTATUS(pclose(pipe)), output};
}

}  // namespace hg::test
