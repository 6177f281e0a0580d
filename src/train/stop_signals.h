// Signals that ask a run to save and end.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <vector>

namespace hg {

/// While one lives, the first SIGTERM, SIGINT or SIGUSR1 is only noted; the second ends the process
/// at once, as it would have without this; but for what `ask` sends. One at a time in a process.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The first signal that has come, or 0.
  int received() const;

  /// Sends a SIGTERM that never counts as the second signal: where a batch system signals all
  /// processes of a job at once, a run that its parent asks to end is ending already.
  static void ask(pid_t process);

 private:
  struct Before {
    int signal;
    struct sigaction action;
  };
  std::vector<Before> before_;
};

}  // namespace hg
