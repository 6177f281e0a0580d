#include "data/token_writer.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "data/token_file.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

const Documents kDocuments = {{10, 11, 12}, {13, 14}};

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

std::int64_t files_in(const TempFolder& folder) {
  return std::distance(std::filesystem::directory_iterator(folder.path()), {});
}

// Assembled by hand from Megatron's reader and writer.
TEST(TokenWriter, WritesTheBytesOfMegatron) {
  const TempFolder folder;
  const std::string prefix = write_tokens(folder, kDocuments, 151'936);
  EXPECT_EQ(
      hex(read_file(prefix + ".idx")),
      "4d4d494449445800000100000000000000040200000000000000030000000000000003000000020000000000"
      "0000000000000c00000000000000000000000000000001000000000000000200000000000000");
  EXPECT_EQ(hex(read_file(prefix + ".bin")), "0a0000000b0000000c0000000d0000000e000000");
  EXPECT_EQ(files_in(folder), 2);
}

TEST(TokenWriter, ChoosesTheTypeAsMegatronDoes) {
  for (const auto& [vocab_size, type, bytes] :
       {std::tuple{65'499, 8, 10U}, {65'500, 4, 20U}, {256, 8, 10U}}) {
    const TempFolder folder;
    const std::string prefix = write_tokens(folder, kDocuments, vocab_size);
    EXPECT_EQ(read_file(prefix + ".idx")[17], type);
    EXPECT_EQ(read_file(prefix + ".bin").size(), bytes);
  }
}

TEST(TokenWriter, WhatItWritesIsRead) {
  const TempFolder folder;
  const std::vector<int> lengths = {3, 0, 5000, 1, 0};
  const TokenFile file(write_tokens(folder, counting_documents(lengths), 6000), 6000);
  ASSERT_EQ(file.documents(), 5);
  ASSERT_EQ(file.tokens(), 5004);
  std::int64_t begin = 0;
  for (std::size_t d = 0; d < lengths.size(); ++d) {
    EXPECT_EQ(file.document_begin(static_cast<std::int64_t>(d)), begin);
    begin += lengths[d];
  }
  std::vector<std::int32_t> ids(5004), counting(5004);
  file.copy(0, 5004, ids.data());
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::int32_t>(i);
  EXPECT_EQ(ids, counting);
}

TEST(TokenWriter, LeavesNothingWithoutFinish) {
  const TempFolder folder;
  {
    TokenWriter writer((folder / "tokens").string(), 100);
    writer.add_document(kDocuments[0]);
    EXPECT_EQ(writer.documents(), 1);
    EXPECT_EQ(writer.tokens(), 3);
  }
  EXPECT_EQ(files_in(folder), 0);
}

TEST(TokenWriter, RefusesAnIdOutsideTheVocabulary) {
  const TempFolder folder;
  TokenWriter writer((folder / "tokens").string(), 100);
  writer.add_document(kDocuments[0]);
  const std::string error = error_of([&] {
    writer.add_document(std::vector<std::int32_t>{99, 100});
  });
  EXPECT_NE(error.find("token 1 of document 1 is id 100, expected 0 to 99"), std::string::npos)
      << error;
  EXPECT_THROW(writer.add_document(std::vector<std::int32_t>{-1}), Error);
}

TEST(TokenWriter, RefusesToReplaceTokenData) {
  const TempFolder folder;
  write_tokens(folder, kDocuments, 100);
  const std::string error = error_of([&] { write_tokens(folder, {{1}}, 100); });
  EXPECT_NE(error.find("tokens.idx exists"), std::string::npos) << error;
  EXPECT_EQ(TokenFile((folder / "tokens").string(), 100).tokens(), 5);
  EXPECT_EQ(files_in(folder), 2);
}

TEST(TokenWriter, IsNotHinderedByHalfAPair) {
  const TempFolder folder;
  write_file(folder / "tokens.bin", "what a killed process left");
  EXPECT_EQ(TokenFile(write_tokens(folder, kDocuments, 100), 100).tokens(), 5);
}

TEST(TokenWriter, AFolderThatIsNotThereIsAnError) {
  const std::string error = error_of([] { TokenWriter("/proc/no/tokens", 100); });
  EXPECT_NE(error.find("/proc/no/tokens.bin"), std::string::npos) << error;
  EXPECT_NE(error.find("No such file or directory"), std::string::npos) << error;
}

/// Files cannot grow beyond 64 KiB while this lives: stands for a full disk.
class FullDisk {
 public:
  FullDisk() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{1 << 16, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

TEST(TokenWriter, AFullDiskIsAnErrorAndLeavesNothing) {
  const TempFolder folder;
  const Documents long_data = {std::vector<std::int32_t>(100'000, 5)};  // .bin does not fit
  const Documents long_index(10'000, {5});                              // .bin does, .idx does not
  for (const Documents& documents : {long_data, long_index}) {
    const std::string error = error_of([&] {
      const FullDisk full;
      write_tokens(folder, documents, 100);
    });
    EXPECT_NE(error.find(documents.size() == 1 ? "tokens.bin" : "tokens.idx"), std::string::npos)
        << error;
    EXPECT_NE(error.find("File too large"), std::string::npos) << error;
    EXPECT_EQ(files_in(folder), 0);
  }
}

TEST(TokenWriter, CannotBeUsedAfterFinish) {
  const TempFolder folder;
  TokenWriter writer((folder / "tokens").string(), 100);
  writer.add_document(kDocuments[0]);
  writer.finish();
  EXPECT_THROW(writer.add_document(kDocuments[0]), Error);
  EXPECT_THROW(writer.finish(), Error);
  EXPECT_EQ(TokenFile((folder / "tokens").string(), 100).tokens(), 3);
}

}  // namespace
}  // namespace hg::test
