// What a sweep shows while it runs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "train/metrics/progress.h"

namespace hg {

/// A run that is under way.
struct LiveRow {
  std::string name;
  std::int64_t step, steps;
  double loss;  ///< NaN before the first step
};

/// "elementwise-lr0.003-seed1    120/200 steps   loss 5.1234", in columns.
std::vector<std::string> live_lines(const std::vector<LiveRow>& rows, int width);

/// On a terminal the runs under way and a progress line, redrawn in place; elsewhere, as in a log
/// file, a line for each message alone.
class LiveTable {
 public:
  /// Draws on `out`, usually stderr; nothing at all if it is nullptr.
  explicit LiveTable(std::FILE* out);
  /// Leaves nothing of the table.
  ~LiveTable();
  LiveTable(const LiveTable&) = delete;
  LiveTable& operator=(const LiveTable&) = delete;

  void draw(const std::vector<LiveRow>& rows, const ProgressState& progress);
  /// Prints a line above the table; elsewhere than on a terminal with the progress behind it.
  void message(const std::string& text, const ProgressState& progress);

 private:
  void clear();

  std::FILE* out_;
  bool terminal_;
  std::size_t drawn_ = 0;  // lines
};

}  // namespace hg
