#include "train/metrics/tensorboard.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/check.h"
#include "support/temp_folder.h"

namespace hg::test {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

/// Splits a file into its events, checking lengths and checksums.
std::vector<std::string> events_of(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  std::vector<std::string> events;
  for (std::size_t at = 0; at < file.size();) {
    std::uint64_t length = 0;
    std::memcpy(&length, file.data() + at, sizeof(length));
    events.push_back(file.substr(at + 12, length));
    const std::string record = tensorboard::record(events.back());
    EXPECT_EQ(file.substr(at, record.size()), record);
    at += record.size();
  }
  return events;
}

TEST(TensorBoard, ChecksumsOfTheStandard) {
  // Unmasked: e3069283 and 8a9136aa (RFC 3720, B.4); the third is in TensorFlow's tests.
  const auto masked = [](std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xa282ead8U; };
  EXPECT_EQ(tensorboard::masked_crc32c("123456789"), masked(0xe3069283));
  EXPECT_EQ(tensorboard::masked_crc32c(std::string(32, '\0')), masked(0x8a9136aa));
  EXPECT_EQ(tensorboard::masked_crc32c("\x1a\x11"
                                       "CRC test, one two"),
            0x5794d08aU);
}

// Golden records, put together by hand from the protobuf definitions.
TEST(TensorBoard, FileVersionRecord) {
  EXPECT_EQ(hex(tensorboard::record(tensorboard::file_version_event(1))),
            "1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a");
}

TEST(TensorBoard, ScalarRecord) {
  const NamedValue loss{"train/loss", 2.5};
  EXPECT_EQ(hex(tensorboard::record(tensorboard::scalars_event(1, 7, {&loss, 1}))),
            "200000000000000029eda95009000000000000f03f10072a130a110a0a747261696e2f6c6f737315000020"
            "40b1e0cd68");
}

TEST(TensorBoard, HistogramRecord) {
  const Histogram histogram{.min = 0,
                            .max = 1,
                            .sum = 1.5,
                            .sum_squares = 1.25,
                            .limits = {0.25, 0.5, 0.75, 1},
                            .counts = {2, 1, 0, 1}};
  EXPECT_EQ(hex(tensorboard::record(tensorboard::histogram_event(2, 7, "gate/hist", histogram))),
            "8e00000000000000c67db15209000000000000004010072a80010a7e0a09676174652f686973742a710900"
            "0000000000000011000000000000f03f19000000000000104021000000000000f83f29000000000000f43f"
            "3220000000000000d03f000000000000e03f000000000000e83f000000000000f03f3a2000000000000000"
            "40000000000000f03f0000000000000000000000000000f03fa40f5f26");
  Histogram uneven = histogram;
  uneven.counts.pop_back();
  EXPECT_THROW(tensorboard::histogram_event(2, 7, "x", uneven), Error);
}

TEST(TensorBoard, AFileHoldsVersionStartAndEvents) {
  const TempFolder folder;
  TensorBoardWriter writer(folder / "new" / "tensorboard", 0);
  const std::vector<NamedValue> scalars = {{"loss", 3.5}, {"grad_norm", 1}};
  writer.scalars(10, 1, scalars);
  writer.scalars(11, 2, {});  // an event without values would be noise
  writer.text(12, 2, "note", "hello");
  const std::vector<std::string> events = events_of(writer.path());
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0].substr(9), tensorboard::file_version_event(0).substr(9));  // past the time
  EXPECT_EQ(events[1].substr(9), tensorboard::session_start_event(0, 0).substr(9));
  EXPECT_EQ(events[2], tensorboard::scalars_event(10, 1, scalars));
  EXPECT_EQ(events[3], tensorboard::text_event(12, 2, "note", "hello"));
}

TEST(TensorBoard, AResumedRunsFileSortsBehindTheFirst) {
  const TempFolder folder;
  const TensorBoardWriter first(folder.path(), 0), second(folder.path(), 5),
      third(folder.path(), 7);
  EXPECT_LT(first.path(), second.path());
  EXPECT_LT(second.path(), third.path());
  EXPECT_EQ(events_of(second.path())[1].substr(9),
            tensorboard::session_start_event(0, 5).substr(9));
}

}  // namespace
}  // namespace hg::test
