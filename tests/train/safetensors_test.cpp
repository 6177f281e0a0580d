#include "train/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "support/compare.h"
#include "support/paths.h"
#include "support/temp_folder.h"
#include "support/tensors.h"

namespace hg::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

/// A file by the format's definition: length, header, data.
std::string file_of(const std::string& header, std::size_t data_size) {
  std::uint64_t length = header.size();
  std::string text(sizeof(length), '\0');
  std::memcpy(text.data(), &length, sizeof(length));
  return text + header + std::string(data_size, '\1');
}

/// The error that opening a file of these bytes gives; "" if there is none.
std::string error_of_opening(const std::string& content) {
  const TempFolder folder;
  write_file(folder / "x.safetensors", content);
  try {
    SafetensorsFile{folder / "x.safetensors"};
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("x.safetensors"));
    return error.what();
  }
  return "";
}

// One f32 tensor "a" = [[1, -2]] and {"format": "pt"}, made by hand from the definition.
const std::string kGolden =
    file_of(
        R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}} )",
        0) +
    std::string("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8);

TEST(Safetensors, WritesTheGoldenBytes) {
  const TempFolder folder;
  const float values[] = {1, -2};
  const NamedTensor a{"a", ConstTensor(values, DType::f32, {1, 2})};
  write_safetensors(folder / "a", {&a, 1}, {{"format", "pt"}});
  EXPECT_EQ(kGolden.size(), 104U);
  EXPECT_EQ(read_file(folder / "a"), kGolden);
}

TEST(Safetensors, ReadsTheGoldenBytes) {
  const TempFolder folder;
  write_file(folder / "a", kGolden);
  const SafetensorsFile file(folder / "a");
  EXPECT_THAT(file.names(), ElementsAre("a"));
  EXPECT_THAT(file.metadata(), ElementsAre(Pair("format", "pt")));
  const ConstTensor a = file.tensor("a");
  EXPECT_EQ(a.shape(), (Shape{1, 2}));
  EXPECT_EQ(get(a, 0), 1);
  EXPECT_EQ(get(a, 1), -2);
}

// scripts/oracle/check_safetensors.py --write makes this file with the Python package.
TEST(Safetensors, ReadsAFileOfThePythonPackage) {
  const SafetensorsFile file(source_path("tests/train/golden/python.safetensors"));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  const ConstTensor embed = file.tensor("embed.weight");
  EXPECT_EQ(embed.shape(), (Shape{2, 3}));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(get(embed, i), static_cast<float>(i) / 4);
  const ConstTensor norm = file.tensor("norm.weight");
  EXPECT_EQ(norm.dtype(), DType::bf16);
  EXPECT_EQ(get(norm, 1), -2.5F);
  EXPECT_EQ(get(norm, 2), 3.140625F);
  EXPECT_EQ(file.tensor("step").rank(), 0);
  EXPECT_EQ(*file.tensor("step").as<std::int32_t>(), 7);
  EXPECT_EQ(file.tensor("empty").shape(), (Shape{0, 4}));
  EXPECT_THROW(file.tensor("half"), Error);  // F16
  EXPECT_THROW(file.tensor("deep"), Error);  // five axes
  EXPECT_FALSE(file.contains("absent"));
  EXPECT_THROW(file.tensor("absent"), Error);
}

TEST(Safetensors, RoundTripKeepsBitsOrderAndAlignment) {
  Tensors memory;
  const std::vector<NamedTensor> tensors = {{"odd", memory.normal("odd", {3}, DType::bf16)},
                                            {"wide", memory.normal("wide", {5, 7})},
                                            {"even", memory.normal("even", {2, 1, 4}, DType::bf16)},
                                            {"ids", memory.integers({1, -1, 1 << 30})},
                                            {"none", memory.empty({0, 3})},
                                            {"scalar", memory.normal("scalar", {})}};
  const TempFolder folder;
  write_safetensors(folder / "a", tensors, {});
  const SafetensorsFile file(folder / "a");
  EXPECT_THAT(file.names(), ElementsAre("wide", "ids", "none", "scalar", "odd", "even"));
  EXPECT_TRUE(file.metadata().empty());
  for (const NamedTensor& named : tensors) {
    EXPECT_TRUE(same_bits(file.tensor(named.name), named.tensor)) << named.name;
    EXPECT_EQ(file.tensor(named.name).shape(), named.tensor.shape());
  }
}

TEST(Safetensors, WritesAndReadsAFileWithoutTensors) {
  const TempFolder folder;
  write_safetensors(folder / "a", {}, {});
  EXPECT_TRUE(SafetensorsFile(folder / "a").names().empty());
}

TEST(Safetensors, AnUnalignedTensorIsCopied) {
  const std::string header = R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}} )";
  ASSERT_NE(header.size() % 4, 0U);
  const TempFolder folder;
  write_file(folder / "a", file_of(header, 8));
  const SafetensorsFile file(folder / "a");
  EXPECT_THROW(file.tensor("b"), Error);
  Tensors memory;
  const Tensor copy = memory.empty({2});
  file.copy_to("b", copy);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(get(copy, 1)), 0x01010101U);
  EXPECT_THROW(file.copy_to("b", memory.empty({3})), Error);
  EXPECT_THROW(file.copy_to("b", memory.empty({2}, DType::bf16)), Error);
}

TEST(Safetensors, RejectsWhatTheFormatForbids) {
  const auto tensor = [](const std::string& name, const std::string& dtype,
                         const std::string& shape, int begin, int end) {
    return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype,
                       shape, begin, end);
  };
  const auto header = [](const std::string& inside) { return "{" + inside + "}"; };
  struct Case {
    std::string content, error;
  };
  std::string huge(8, '\0');
  huge[4] = 1;  // a header of 4 GiB
  const Case cases[] = {
      {"short", "too few"},
      {huge + "{}", "the format allows"},
      {kGolden.substr(0, 50), "cut short"},
      {kGolden.substr(0, 103), "the file has 103"},
      {kGolden + "x", "the file has 105"},
      {file_of(" {}", 0), "does not start with '{'"},
      {file_of("{\"a\":", 0), "not valid JSON"},
      {file_of("{}x", 0), "not valid JSON"},
      {file_of(R"({"a":1})", 0), "'a' is not an object"},
      {file_of(R"({"__metadata__":{"n":1}})", 0), "metadata 'n' is not a string"},
      {file_of(header(tensor("a", "F32", "[1]", 0, 4) + "," + tensor("a", "F32", "[1]", 4, 8)), 8),
       "'a' twice"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", 4),
       "'shape' twice"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 0), "expected dtype, shape"},
      {file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4),
       "expected dtype, shape"},
      {file_of(header(tensor("a", "F32", "[-1]", 0, 4)), 4), "expected dtype, shape"},
      {file_of(header(tensor("a", "F32", "[1.5]", 0, 4)), 4), "expected dtype, shape"},
      {file_of(header(tensor("a", "F31", "[1]", 0, 4)), 4), "unknown dtype F31"},
      {file_of(header(tensor("a", "F32", "[3]", 0, 8)), 8), "'a', F32 [3], has bytes [0, 8)"},
      {file_of(header(tensor("a", "F4", "[3]", 0, 1)), 1), "not its size"},
      {file_of(header(tensor("a", "F32", "[4611686018427387904,4]", 0, 0)), 0), "not its size"},
      {file_of(header(tensor("a", "F32", "[1]", 8, 4)), 8), "not its size"},
      {file_of(header(tensor("a", "F32", "[1]", 0, 4) + "," + tensor("b", "F32", "[1]", 8, 12)),
               12),
       "'b' starts at byte 8, expected 4: there is a hole"},
      {file_of(header(tensor("a", "F32", "[2]", 0, 8) + "," + tensor("b", "F32", "[2]", 4, 12)),
               12),
       "'b' starts at byte 4, expected 8: tensors overlap"},
      {file_of(header(tensor("a", "F32", "[1]", 4, 8)), 8), "'a' starts at byte 4, expected 0"},
  };
  for (const Case& c : cases) EXPECT_THAT(error_of_opening(c.content), HasSubstr(c.error));
  EXPECT_EQ(error_of_opening(kGolden), "");
}

TEST(Safetensors, RejectsWhatCannotBeWritten) {
  const TempFolder folder;
  Tensors memory;
  const ConstTensor x = memory.normal("x", {4, 4});
  const auto write = [&](std::vector<NamedTensor> tensors) {
    write_safetensors(folder / "a", tensors, {});
  };
  EXPECT_THROW(write({{"x", x}, {"x", x}}), Error);
  EXPECT_THROW(write({{"__metadata__", x}}), Error);
  EXPECT_THROW(write({{"columns", x.slice(1, 0, 2)}}), Error);
  EXPECT_THROW(write({{"\xff", x}}), Error);
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
}

}  // namespace
}  // namespace hg::test
