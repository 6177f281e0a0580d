// One run folder, one run.
#pragma once

#include <filesystem>

#include "core/check.h"
#include "core/file.h"

namespace hg {

/// Another process has the run folder.
class RunInUse : public Error {
 public:
  using Error::Error;
};

/// Holds FOLDER/lock until it is destroyed or the process ends, however it ends. Throws RunInUse,
/// naming the process that has it.
class RunLock {
 public:
  explicit RunLock(const std::filesystem::path& folder);

 private:
  FileDescriptor file_;
};

}  // namespace hg
