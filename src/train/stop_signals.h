// Signals that ask a run to save and end.
#pragma once

#include <csignal>
#include <vector>

namespace hg {

/// While one lives, the first SIGTERM, SIGINT or SIGUSR1 is only noted; the second ends the process
/// at once, as it would have without this. One at a time in a process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The signal that has come, or 0.
  int received() const;

 private:
  struct Before {
    int signal;
    struct sigaction action;
  };
  std::vector<Before> before_;
};

}  // namespace hg
