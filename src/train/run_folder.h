// A run's folder: that it is one, that nobody else is at work in it, and where the run continues.
#pragma once

#include <filesystem>
#include <optional>

#include "train/config.h"
#include "train/run_lock.h"

namespace hg {

class Comm;

class RunFolder {
 public:
  /// Rank 0 makes the folder, locks it, and removes what a killed run left half-written. Throws if
  /// it holds anything that no run has written, or is not the same folder on all ranks, and
  /// RunInUse. `host` is null for a rank alone. Collective.
  RunFolder(std::filesystem::path path, Comm* host);

  /// The newest undamaged checkpoint, or nothing for a fresh run, as checkpoint.resume says.
  /// Damaged ones that are newer are said, and set aside under another name. Throws if there are
  /// checkpoints and all are damaged: a fresh run would write over them. Collective.
  std::optional<std::filesystem::path> find_start(Resume resume) const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }

 private:
  std::filesystem::path path_;
  Comm* host_;
  std::optional<RunLock> lock_;  // rank 0's
};

}  // namespace hg
