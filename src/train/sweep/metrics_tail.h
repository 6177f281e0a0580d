// The metrics of a run that is under way, as they are written.
#pragma once

#include <sys/types.h>

#include <filesystem>

#include "train/sweep/point_result.h"

namespace hg {

class MetricsTail {
 public:
  MetricsTail(std::filesystem::path file, const RunConfig& config, const DivergedConfig& diverged);

  /// Reads the rows that have come. A file that was replaced, as a run does that continues, is read
  /// from its beginning.
  void follow();
  const PointTrace& trace() const { return trace_; }

 private:
  std::filesystem::path file_;
  PointTrace fresh_, trace_;
  ino_t inode_ = 0;
  std::streamoff read_ = 0;  // bytes, of whole lines
};

}  // namespace hg
