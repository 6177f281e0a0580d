#include "train/metrics/tensorboard.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <climits>
#include <concepts>
#include <cstring>
#include <numeric>

#include "core/check.h"

namespace hg {
namespace {

constexpr std::string_view kFilePrefix = "events.out.tfevents.";

/// Protobuf's wire format, of which an Event needs little. Fields of value zero are written too.
class Message {
 public:
  void varint_field(int field, std::uint64_t value) {
    key(field, 0);
    varint(value);
  }
  void double_field(int field, double value) {
    key(field, 1);
    append(value);
  }
  void float_field(int field, float value) {
    key(field, 5);
    append(value);
  }
  void bytes_field(int field, std::string_view bytes) {
    key(field, 2);
    varint(bytes.size());
    text_ += bytes;
  }
  void packed_doubles_field(int field, const std::vector<double>& values) {
    bytes_field(field,
                {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double)});
  }
  const std::string& text() const { return text_; }

 private:
  void key(int field, int wire_type) { varint(static_cast<std::uint64_t>(field << 3 | wire_type)); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  template <std::floating_point T>
  void append(T value) {
    static_assert(std::endian::native == std::endian::little);
    text_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  std::string text_;
};

/// Event {wall_time = 1, step = 2, summary = 5}
std::string summary_event(double time, std::int64_t step, const Message& summary) {
  Message event;
  event.double_field(1, time);
  event.varint_field(2, static_cast<std::uint64_t>(step));
  event.bytes_field(5, summary.text());
  return event.text();
}

/// One bit of the polynomial at a time; 0x82F63B78 is Castagnoli's, bits reversed.
constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78U : 0);
    table[byte] = crc;
  }
  return table;
}();

double now() {
  const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since_1970).count();
}

/// TensorBoard reads the files of a folder in the order of their names, which start with a time in
/// seconds: the time of the new file is therefore later than any file's before it.
std::filesystem::path new_file_name(const std::filesystem::path& folder, std::int64_t seconds) {
  std::filesystem::create_directories(folder);
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kFilePrefix)) continue;
    std::int64_t earlier = 0;
    std::from_chars(name.data() + kFilePrefix.size(), name.data() + name.size(), earlier);
    seconds = std::max(seconds, earlier + 1);
  }
  std::array<char, HOST_NAME_MAX + 1> host{};
  if (::gethostname(host.data(), host.size()) != 0) std::strcpy(host.data(), "localhost");
  return folder / fmt::format("{}{:010}.{}.{}.0", kFilePrefix, seconds, host.data(), ::getpid());
}

}  // namespace

namespace tensorboard {

std::string file_version_event(double time) {
  Message event;
  event.double_field(1, time);
  event.bytes_field(3, "brain.Event:2");
  return event.text();
}

std::string session_start_event(double time, std::int64_t step) {
  constexpr std::uint64_t kStart = 1;
  Message session_log;
  session_log.varint_field(1, kStart);
  Message event;
  event.double_field(1, time);
  event.varint_field(2, static_cast<std::uint64_t>(step));
  event.bytes_field(7, session_log.text());
  return event.text();
}

// Summary {value = 1: {tag = 1, simple_value = 2, histo = 5, tensor = 8, metadata = 9}}
std::string scalars_event(double time, std::int64_t step, std::span<const NamedValue> scalars) {
  Message summary;
  for (const auto& [tag, scalar] : scalars) {
    Message value;
    value.bytes_field(1, tag);
    value.float_field(2, static_cast<float>(scalar));
    summary.bytes_field(1, value.text());
  }
  return summary_event(time, step, summary);
}

std::string histogram_event(double time, std::int64_t step, std::string_view tag,
                            const Histogram& histogram) {
  HG_CHECK(histogram.limits.size() == histogram.counts.size(),
           "histogram '{}': {} limits of {} buckets", tag, histogram.limits.size(),
           histogram.counts.size());
  Message histo;
  histo.double_field(1, histogram.min);
  histo.double_field(2, histogram.max);
  histo.double_field(3, std::accumulate(histogram.counts.begin(), histogram.counts.end(), 0.0));
  histo.double_field(4, histogram.sum);
  histo.double_field(5, histogram.sum_squares);
  histo.packed_doubles_field(6, histogram.limits);
  histo.packed_doubles_field(7, histogram.counts);
  Message value;
  value.bytes_field(1, tag);
  value.bytes_field(5, histo.text());
  Message summary;
  summary.bytes_field(1, value.text());
  return summary_event(time, step, summary);
}

// TensorProto {dtype = 1, string_val = 8}, of no dimensions: the page makes tables of any others.
// SummaryMetadata {plugin_data = 1: {plugin_name = 1}}
std::string text_event(double time, std::int64_t step, std::string_view tag,
                       std::string_view text) {
  constexpr std::uint64_t kString = 7;
  Message tensor, plugin, metadata, value, summary;
  tensor.varint_field(1, kString);
  tensor.bytes_field(8, text);
  plugin.bytes_field(1, "text");
  metadata.bytes_field(1, plugin.text());
  value.bytes_field(1, tag);
  value.bytes_field(8, tensor.text());
  value.bytes_field(9, metadata.text());
  summary.bytes_field(1, value.text());
  return summary_event(time, step, summary);
}

std::uint32_t masked_crc32c(std::string_view data) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char c : data)
    crc = crc >> 8 ^ kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  crc = ~crc;
  return std::rotr(crc, 15) + 0xa282ead8U;
}

std::string record(std::string_view event) {
  const auto bytes_of = [](auto value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  const std::string length = bytes_of(static_cast<std::uint64_t>(event.size()));
  return length + bytes_of(masked_crc32c(length)) + std::string(event) +
         bytes_of(masked_crc32c(event));
}

}  // namespace tensorboard

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, std::int64_t first_step)
    : file_(new_file_name(folder, static_cast<std::int64_t>(now())), AppendFile::Open::create_new) {
  const double time = now();
  // The start is written in new runs too: readers act on the second they meet, not on the first.
  file_.write(tensorboard::record(tensorboard::file_version_event(time)) +
              tensorboard::record(tensorboard::session_start_event(time, first_step)));
}

void TensorBoardWriter::scalars(double time, std::int64_t step,
                                std::span<const NamedValue> scalars) {
  if (scalars.empty()) return;
  file_.write(tensorboard::record(tensorboard::scalars_event(time, step, scalars)));
}

void TensorBoardWriter::histogram(double time, std::int64_t step, std::string_view tag,
                                  const Histogram& histogram) {
  file_.write(tensorboard::record(tensorboard::histogram_event(time, step, tag, histogram)));
}

void TensorBoardWriter::text(double time, std::int64_t step, std::string_view tag,
                             std::string_view text) {
  file_.write(tensorboard::record(tensorboard::text_event(time, step, tag, text)));
}

}  // namespace hg
