// Losses over steps from files: a run's metrics, or a table that another program wrote.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/spikes/spike_events.h"

namespace hg {

/// A series, and what was odd about its file. No value is guessed: a line that cannot be read is an
/// error with file and line; everything below is read as said here, counted, and its lines named.
struct LossSeries {
  struct Lines {
    static constexpr std::size_t kMost = 10;
    std::int64_t count = 0;
    std::vector<std::int64_t> first;  ///< numbers of the first kMost such lines

    void add(std::int64_t line);
  };

  std::vector<LossPoint> points;   ///< in ascending order, no step twice
  Lines not_finite;                ///< loss NaN or infinite (null in JSON): kept, as it is
  Lines not_positive;              ///< loss 0 or less: kept
  Lines unsorted;                  ///< step lower than in the line before: sorted
  Lines repeated;                  ///< step seen before: the last line counts, as after a resume
  Lines gaps;                      ///< step not the next of those in the file: left as it is
  std::int64_t missing_steps = 0;  ///< in all gaps together
  Lines unfinished;                ///< half a line of JSON at the end, left by a crash: ignored
};

/// Reads `path`, by its content one of
/// - a run folder: its metrics.jsonl;
/// - JSON lines (beginning with '{'): rows with "step", a loss (loss_metrics/global_avg_loss, or
///   loss) and perhaps grad_norm and tokens, of kind "train" or without a kind; others are skipped;
/// - a table with separators tab, semicolon or comma. With a header, columns are found by name
///   without regard to case: step; loss, loss_metrics/global_avg_loss or value (TensorBoard);
///   grad_norm. Without, they are step, loss and perhaps grad_norm. An empty grad_norm is unknown.
/// Throws if there is no step in it.
LossSeries read_loss_series(const std::filesystem::path& path);

/// The parts of read_loss_series, which may find no step; `name` is for errors.
LossSeries parse_loss_json_lines(std::string_view text, const std::string& name);
LossSeries parse_loss_table(std::string_view text, const std::string& name);

}  // namespace hg
