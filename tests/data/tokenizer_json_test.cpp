#include "data/tokenizer_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/file.h"
#include "data/byte_level.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg {
namespace {

using nlohmann::json;

const std::filesystem::path kGolden = test::source_path("tests/golden");

/// The trained tokenizer with the value at a JSON pointer replaced, read again.
BpeDefinition read_with(const std::string& pointer, const json& value) {
  json file = json::parse(read_file(kGolden / "tokenizer_trained.json"));
  file[json::json_pointer(pointer)] = value;
  const test::TempFolder folder;
  write_file(folder / "tokenizer.json", file.dump());
  return read_tokenizer_json(folder / "tokenizer.json");
}

TEST(TokenizerJson, ReadsTheTrainedForm) {
  const BpeDefinition d = read_tokenizer_json(kGolden / "tokenizer_trained.json");
  EXPECT_TRUE(d.nfc);
  EXPECT_FALSE(d.ignore_merges);
  EXPECT_EQ(d.split_pattern, kQwenSplitPattern);
  ASSERT_EQ(d.vocabulary.size(), 599U);
  EXPECT_EQ(d.vocabulary[0], "!");
  ASSERT_EQ(d.merges.size(), 343U);
  for (const auto& [left, right, result] : d.merges) {
    const auto bytes = [&](std::int32_t id) { return d.vocabulary[static_cast<std::size_t>(id)]; };
    EXPECT_EQ(bytes(left) + bytes(right), bytes(result));
  }
  ASSERT_EQ(d.added_tokens.size(), 1U);
  EXPECT_EQ(d.added_tokens[0].content, "<|endoftext|>");
  EXPECT_EQ(d.added_tokens[0].id, 599);
  EXPECT_TRUE(d.added_tokens[0].special);
  EXPECT_FALSE(d.added_tokens[0].normalized);
}

TEST(TokenizerJson, ReadsTheFormOfGpt2) {
  const BpeDefinition d = read_tokenizer_json(kGolden / "tokenizer_gpt2.json");
  EXPECT_FALSE(d.nfc);
  EXPECT_EQ(d.split_pattern, kGpt2SplitPattern);
  EXPECT_EQ(d.vocabulary.size(), 400U);
  EXPECT_EQ(d.vocabulary[0], "<|endoftext|>");
  EXPECT_EQ(d.merges.size(), 143U);
  EXPECT_TRUE(d.added_tokens[0].normalized);
}

TEST(TokenizerJson, ReadsWhatDoesNotMatter) {
  EXPECT_EQ(read_with("/model/dropout", 0.0).merges.size(), 343U);
  EXPECT_EQ(read_with("/model/unk_token", "").merges.size(), 343U);
  EXPECT_EQ(read_with("/model/end_of_word_suffix", "").merges.size(), 343U);
  EXPECT_EQ(read_with("/model/type", nullptr).merges.size(), 343U);
  EXPECT_EQ(read_with("/truncation", {{"max_length", 512}}).merges.size(), 343U);
  EXPECT_TRUE(read_with("/model/ignore_merges", true).ignore_merges);
  EXPECT_FALSE(read_with("/normalizer", nullptr).nfc);
}

TEST(TokenizerJson, WritingAndReadingGiveTheSame) {
  const test::TempFolder folder;
  const BpeDefinition d = read_tokenizer_json(kGolden / "tokenizer_trained.json");
  write_tokenizer_json(folder / "tokenizer.json", d);
  EXPECT_EQ(read_file(folder / "tokenizer.json"), read_file(kGolden / "tokenizer_trained.json"));
}

TEST(TokenizerJson, ErrorsNameFileAndKey) {
  const json byte_level = {{"type", "ByteLevel"}, {"add_prefix_space", true}};
  const struct {
    std::string pointer;
    json value;
    std::string error;
  } cases[] = {
      {"/model/type", "Unigram", "model.type is \"Unigram\", expected \"BPE\""},
      {"/model/dropout", 0.1, "model.dropout is 0.1, expected null"},
      {"/model/continuing_subword_prefix", "##",
       "model.continuing_subword_prefix is \"##\", expected null"},
      {"/model/byte_fallback", true, "model.byte_fallback is true, expected false"},
      {"/model/vocab", nullptr, "model.vocab is null, expected an object"},
      {"/model/vocab/!", -1, "model.vocab.! is -1, expected an integer"},
      {"/model/vocab/!", 1, "model.vocab.\" is 1, expected another id than that of \"!\""},
      {"/model/vocab/\u2581a", 700,
       "is 700, expected a token in the characters of the byte-level alphabet"},
      {"/model/merges", 5, "model.merges is 5, expected an array"},
      {"/model/merges/3", "abc", "model.merges[3] is \"abc\", expected two tokens"},
      {"/model/merges/3", {"a"}, "model.merges[3] is [\"a\"], expected two tokens"},
      {"/model/merges/3", {"!", "zz"}, "expected tokens of model.vocab, which \"zz\" is not"},
      {"/normalizer/type", "NFKC", "normalizer.type is \"NFKC\", expected \"NFC\""},
      {"/pre_tokenizer", nullptr, "pre_tokenizer is null, expected an object"},
      {"/pre_tokenizer", byte_level, "pre_tokenizer.add_prefix_space is true, expected false"},
      {"/pre_tokenizer/type", "Whitespace", "pre_tokenizer.type is \"Whitespace\", expected"},
      {"/pre_tokenizer/pretokenizers/0/behavior", "Removed",
       "pretokenizers[0].behavior is \"Removed\""},
      {"/pre_tokenizer/pretokenizers/0/invert", true,
       "pretokenizers[0].invert is true, expected false"},
      {"/pre_tokenizer/pretokenizers/0/pattern",
       {{"String", " "}},
       "pattern.Regex is null, expected a string"},
      {"/pre_tokenizer/pretokenizers/1/use_regex", true,
       "pretokenizers[1].use_regex is true, expected false"},
      {"/added_tokens/0/lstrip", true, "added_tokens[0].lstrip is true, expected false"},
      {"/added_tokens/0/content", "",
       "added_tokens[0].content is \"\", expected a string that is not empty"},
      {"/added_tokens/0/id", "x", "added_tokens[0].id is \"x\", expected an integer"},
      {"/added_tokens/1",
       {{"id", 599}, {"content", "x"}},
       "added_tokens[1].id is 599, expected another id"},
      {"/added_tokens/0/content", "!", "model.vocab.! is 0, expected 599 as in added_tokens"},
  };
  for (const auto& [pointer, value, error] : cases) {
    try {
      read_with(pointer, value);
      ADD_FAILURE() << pointer << ": no error";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("tokenizer.json: "), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(error), std::string::npos)
          << e.what() << "\nlacks: " << error;
    }
  }
}

TEST(TokenizerJson, MalformedJsonIsAnErrorWithItsPlace) {
  const test::TempFolder folder;
  write_file(folder / "tokenizer.json", "{\n\"model\": ");
  try {
    read_tokenizer_json(folder / "tokenizer.json");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("tokenizer.json: "), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("line 2"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace hg
