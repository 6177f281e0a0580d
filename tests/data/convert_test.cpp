#include "data/convert.h"

#include <gtest/gtest.h>

#include "data/token_file.h"
#include "support/token_data.h"

namespace hg::test {
namespace {

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

/// A header of 256 words that begins with `words`.
std::string header(std::vector<std::int32_t> words) {
  words.resize(256);
  return bytes_of(words);
}

std::string llmc(const std::vector<std::uint16_t>& ids) {
  return header({20240520, 1, static_cast<std::int32_t>(ids.size())}) + bytes_of(ids);
}

constexpr std::int32_t kBinTok[] = {0x2e4e4942, 0x0a4b4f54};  // "BIN.TOK\n"

/// Converts shards with these contents and returns the documents.
Documents converted(const std::vector<std::string>& contents, const FlatShards& format,
                    std::int64_t vocab_size = 100'000) {
  const TempFolder folder;
  std::vector<std::filesystem::path> shards;
  for (const std::string& content : contents) {
    shards.push_back(folder / fmt::format("shard{}.bin", shards.size()));
    write_file(shards.back(), content);
  }
  TokenWriter writer((folder / "tokens").string(), vocab_size);
  convert(shards, format, writer);
  writer.finish();
  const TokenFile file((folder / "tokens").string(), vocab_size);
  Documents documents;
  for (std::int64_t d = 0; d < file.documents(); ++d) {
    const std::int64_t begin = file.document_begin(d), count = file.document_begin(d + 1) - begin;
    file.copy(begin, count, documents.emplace_back(static_cast<std::size_t>(count)).data());
  }
  return documents;
}

TEST(Convert, ReadsEveryFormat) {
  const Documents expected = {{10, 11, 65'535}};
  EXPECT_EQ(converted({llmc({10, 11, 65'535})}, {}), expected);
  EXPECT_EQ(converted({header({20240801, 7, 3}) + bytes_of<std::uint32_t>({10, 11, 65'535})}, {}),
            expected);
  EXPECT_EQ(converted({header({kBinTok[0], kBinTok[1], 2, 4, 3, 100'000, 0}) +
                       bytes_of<std::int32_t>({10, 11, 65'535})},
                      {}),
            expected);
  EXPECT_EQ(converted({bytes_of<std::uint16_t>({10, 11, 65'535})},
                      {.headerless = token_format::Type::u16}),
            expected);
  EXPECT_EQ(converted({bytes_of<std::int32_t>({10, 11, 65'535})},
                      {.headerless = token_format::Type::i32}),
            expected);
}

TEST(Convert, AHeaderBeginsWithTheBytesOfItsFormat) {
  EXPECT_EQ(llmc({1, 2, 3}).substr(0, 12), std::string("\x88\xd8\x34\x01\1\0\0\0\3\0\0\0", 12));
  EXPECT_EQ(header({kBinTok[0], kBinTok[1]}).substr(0, 8), "BIN.TOK\n");
}

TEST(Convert, CutsDocumentsAtMarks) {
  const std::vector<std::string> shards = {llmc({7, 1, 2, 7, 3}), llmc({4, 7, 7, 5})};
  EXPECT_EQ(converted(shards, {}), (Documents{{7, 1, 2, 7, 3}, {4, 7, 7, 5}}));
  EXPECT_EQ(converted(shards, {.mark = FlatShards::Mark::begins, .mark_id = 7}),
            (Documents{{7, 1, 2}, {7, 3, 4}, {7}, {7, 5}}));
  EXPECT_EQ(converted(shards, {.mark = FlatShards::Mark::ends, .mark_id = 7}),
            (Documents{{7}, {1, 2, 7}, {3, 4, 7}, {7}, {5}}));
}

TEST(Convert, RefusesWhatIsWrong) {
  const auto refused = [](const std::string& content, const FlatShards& format,
                          const std::string& part) {
    const std::string error = error_of([&] { converted({content}, format, 1000); });
    EXPECT_NE(error.find("shard0.bin"), std::string::npos) << error;
    EXPECT_NE(error.find(part), std::string::npos) << error;
  };
  const std::string valid = llmc({1, 2, 3});
  refused(valid.substr(0, 1000), {}, "has 1000 bytes, expected a header of 1024");
  refused(valid.substr(0, 1028), {}, "has 1028 bytes, expected 1030 for the 3 tokens");
  refused(valid + "x", {}, "has 1031 bytes, expected 1030");
  refused(header({20240520, 1, -1}), {}, "for the -1 tokens");
  refused(header({20240520, 2, 0}), {}, "begins with 20240520, version 2");
  refused(header({20240522, 1, 0}), {}, "begins with 20240522, version 1");
  refused(header({kBinTok[0], kBinTok[1], 3, 4, 0}), {}, "version 3 with 4 bytes per token");
  refused(header({kBinTok[0], kBinTok[1], 2, 2, 0}), {}, "version 2 with 2 bytes per token");
  refused(header({kBinTok[0], kBinTok[1], 2, 4, 0, 10, 1}), {}, "holds loss masks");
  refused("abc", {.headerless = token_format::Type::u16}, "has 3 bytes, expected a multiple of 2");
  refused(llmc({1, 1000, 3}), {}, "token 1 is id 1000, expected 0 to 999");
  refused(header({20240801, 7, 1}) + bytes_of<std::uint32_t>({0xffffffff}), {}, "token 0 is id -1");
}

}  // namespace
}  // namespace hg::test
