// TensorBoard event files, encoded by hand: records of length, checksums and a protobuf Event.
// https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file.h"

namespace hg {

/// A metric's name (TensorBoard: tag) and its value.
using NamedValue = std::pair<std::string, double>;

/// Counts of values in buckets: bucket i holds those in (limits[i - 1], limits[i]]. TensorBoard
/// takes `min` and `max` for the outer edges of the outermost buckets that are not empty.
struct Histogram {
  double min, max, sum, sum_squares;
  std::vector<double> limits, counts;
};
using NamedHistogram = std::pair<std::string, Histogram>;

/// Encodings of single events; `time` is in seconds since 1970.
namespace tensorboard {
std::string file_version_event(double time);
/// Tells readers to forget what they have seen of `step` and later, unless it is their first.
std::string session_start_event(double time, std::int64_t step);
std::string scalars_event(double time, std::int64_t step, std::span<const NamedValue> scalars);
std::string histogram_event(double time, std::int64_t step, std::string_view tag,
                            const Histogram& histogram);
std::string text_event(double time, std::int64_t step, std::string_view tag, std::string_view text);

/// CRC-32C, rotated and offset: checksums of data that holds checksums are weak otherwise.
std::uint32_t masked_crc32c(std::string_view data);
/// u64 length | u32 checksum of the length | event | u32 checksum of the event.
std::string record(std::string_view event);
}  // namespace tensorboard

/// Writes one event file of a run. Each call appends whole records, visible to TensorBoard at once.
class TensorBoardWriter {
 public:
  /// Starts a new file in `folder`, which is made if missing. `first_step` is the first that this
  /// process may write, 0 for a new run: what earlier files of the folder hold from there on, left
  /// by a run that went further than its last checkpoint, is no longer shown.
  TensorBoardWriter(const std::filesystem::path& folder, std::int64_t first_step);

  void scalars(double time, std::int64_t step, std::span<const NamedValue> scalars);
  void histogram(double time, std::int64_t step, std::string_view tag, const Histogram& histogram);
  /// Markdown, under the Text tab.
  void text(double time, std::int64_t step, std::string_view tag, std::string_view text);
  /// Makes what was written durable.
  void sync() { file_.sync(); }

  const std::filesystem::path& path() const { return file_.path(); }

 private:
  AppendFile file_;
};

}  // namespace hg
