#include "train/sweep/child_process.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include "core/check.h"
#include "core/file.h"
#include "train/stop_signals.h"

namespace hg {
namespace {

/// Opens and locks the log. A child that inherits it holds the lock, too: it is of the open file.
FileDescriptor open_log(const std::filesystem::path& log) {
  FileDescriptor file(::open(log.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  if (!file) fail_errno(errno, fmt::format("cannot open {}", log.string()));
  for (int tries = 0; ::flock(file.get(), LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (errno != EWOULDBLOCK) break;  // a file system without locks
    HG_CHECK(tries < 100, "{}: is locked: another process runs this already", log.string());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return file;
}

/// In the child: becomes the program. Only what is safe between fork and exec.
[[noreturn]] void become(char* const* arguments, int log, pid_t parent) {
  ::setpgid(0, 0);  // what a terminal sends, as on Ctrl-C, goes to the parent alone
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it ended before it was asked for
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execvp(arguments[0], arguments);
  const char* words[] = {"cannot start ", arguments[0], ": ", ::strerrorname_np(errno), "\n"};
  for (const char* word : words) {
    if (::write(STDERR_FILENO, word, std::strlen(word)) < 0) break;
  }
  ::_exit(127);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command,
                           const std::filesystem::path& log, const std::function<void()>& prepare)
    : log_(log) {
  const FileDescriptor file = open_log(log);
  prepare();
  struct stat info {};
  if (::fstat(file.get(), &info) == 0) log_start_ = info.st_size;
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) fail_errno(errno, fmt::format("cannot start {}", command.front()));
  if (pid_ == 0) become(arguments.data(), file.get(), parent);
}

ChildProcess::~ChildProcess() { kill(); }

std::optional<int> ChildProcess::poll() {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
  return status_;
}

void ChildProcess::terminate() {
  if (!poll()) StopSignals::ask(pid_);
}

void ChildProcess::terminate_ranks() {
  if (!poll()) ::kill(pid_, SIGUSR1);
}

void ChildProcess::kill() {
  if (poll()) return;
  ::kill(-pid_, SIGKILL);
  ::kill(pid_, SIGKILL);  // before it has a group of its own
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  status_ = status;
}

std::string ChildProcess::output() const {
  return read_file(log_).substr(static_cast<std::size_t>(log_start_));
}

}  // namespace hg
