#include "train/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace hg {

RunLock::RunLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "lock";
  file_ = FileDescriptor(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  if (!file_) fail_errno(errno, fmt::format("cannot open {}", path.string()));
  if (::flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) fail_errno(errno, fmt::format("cannot lock {}", path.string()));
    throw RunInUse(fmt::format("{}: another run is at work in this folder: {}", folder.string(),
                               read_file(path)));
  }
  // For whoever is refused; the lock itself is the kernel's and ends with the process.
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string who = fmt::format("process {} on {}", ::getpid(), host.data());
  if (::ftruncate(file_.get(), 0) != 0 ||
      ::pwrite(file_.get(), who.data(), who.size(), 0) != static_cast<ssize_t>(who.size()))
    fail_errno(errno, fmt::format("cannot write {}", path.string()));
}

}  // namespace hg
