// A program that runs beside this one and never outlives it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace hg {

/// Starts a program whose output is appended to a log file. The program dies with this process,
/// however that ends. As long as it lives its log is locked, so that nobody starts it twice: not
/// even one who comes before the killed program of an earlier process is quite gone.
class ChildProcess {
 public:
  /// `command` is the program's path, or a name to look for in PATH, and its arguments. Throws if
  /// another process keeps the log locked for five seconds. `prepare` is called once it is locked,
  /// before the program starts. A program that cannot be started says so in the log and ends with
  /// exit code 127.
  ChildProcess(
      const std::vector<std::string>& command, const std::filesystem::path& log,
      const std::function<void()>& prepare = [] {});
  /// Kills it if it still runs.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// What waitpid() says of it once it has ended; nothing before.
  std::optional<int> poll();
  /// Asks it to end (SIGTERM, by StopSignals::ask); after `kill`, it and what it started have
  /// ended.
  void terminate();
  /// The same of ranks under a launcher, mpirun or srun, which hands SIGUSR1 on to them; SIGTERM it
  /// would take as its own, and leave them two seconds.
  void terminate_ranks();
  void kill();
  /// What it has written so far.
  std::string output() const;

 private:
  std::filesystem::path log_;
  std::int64_t log_start_ = 0;  // bytes that earlier programs had written
  pid_t pid_ = -1;
  std::optional<int> status_;
};

}  // namespace hg
