// A program that a test starts and may kill.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/file.h"

namespace hg::test {

/// Runs `arguments`, the program first, with both streams going to a file.
class Child {
 public:
  Child(std::vector<std::string> arguments, std::filesystem::path output)
      : output_(std::move(output)) {
    std::vector<char*> pointers;
    for (std::string& argument : arguments) pointers.push_back(argument.data());
    pointers.push_back(nullptr);
    pid_ = fork();
    HG_CHECK(pid_ >= 0, "cannot fork");
    if (pid_ > 0) return;
    const int file = ::open(output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(file, 1);
    ::dup2(file, 2);
    ::execv(pointers.front(), pointers.data());
    ::_exit(127);
  }
  ~Child() {
    if (status_ >= 0) return;
    send(SIGKILL);
    wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }
  /// The exit code, or 128 and the signal that ended it, as shells say it.
  int wait() {
    if (status_ < 0) ::waitpid(pid_, &status_, 0);
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  }
  bool running() { return status_ < 0 && ::waitpid(pid_, &status_, WNOHANG) == 0; }
  std::string output() const { return read_file(output_); }

 private:
  std::filesystem::path output_;
  pid_t pid_;
  int status_ = -1;
};

}  // namespace hg::test
