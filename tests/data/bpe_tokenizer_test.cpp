#include "data/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/check.h"
#include "core/file.h"
#include "core/parallel.h"
#include "data/tokenizer_json.h"
#include "support/paths.h"

namespace hg {
namespace {

using Ids = std::vector<std::int32_t>;

const std::filesystem::path kGolden = test::source_path("tests/golden");

std::unique_ptr<BpeTokenizer> golden(const std::string& name) {
  return std::make_unique<BpeTokenizer>(read_tokenizer_json(kGolden / name), name);
}

struct Case {
  std::string text;
  Ids ids;
};

std::vector<Case> golden_cases(const std::string& name) {
  const auto json = nlohmann::json::parse(read_file(kGolden / "tokenizer_ids.json"));
  std::vector<Case> cases;
  for (const auto& entry : json.at(name)) cases.push_back({entry.at("text"), entry.at("ids")});
  return cases;
}

/// 256 bytes, the tokens th, the and The, of which merges make two, and an end of document.
BpeDefinition small() {
  BpeDefinition d;
  d.split_pattern = kQwenSplitPattern;
  for (int byte = 0; byte < 256; ++byte) d.vocabulary.emplace_back(1, static_cast<char>(byte));
  d.vocabulary.insert(d.vocabulary.end(), {"th", "the", "The"});
  d.merges = {{'t', 'h', 256}, {256, 'e', 257}};
  d.added_tokens = {{"</s>", 260, true, false}};
  return d;
}

std::string error_of(const BpeDefinition& definition) {
  try {
    const BpeTokenizer tokenizer(definition, "file");
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

class BpeTokenizerGolden : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Forms, BpeTokenizerGolden,
                         testing::Values("tokenizer_trained.json", "tokenizer_gpt2.json"));

TEST_P(BpeTokenizerGolden, EncodesLikeHuggingFace) {
  const auto tokenizer = golden(GetParam());
  const auto cases = golden_cases(GetParam());
  ASSERT_GE(cases.size(), 20U);
  for (int pass = 0; pass < 2; ++pass) {  // words as computed, then as remembered
    for (const auto& [text, ids] : cases) EXPECT_EQ(tokenizer->encode(text), ids) << text;
  }
}

TEST_P(BpeTokenizerGolden, DecodesToTheNormalizedText) {
  const auto tokenizer = golden(GetParam());
  const bool nfc = read_tokenizer_json(kGolden / GetParam()).nfc;
  std::string buffer;
  for (const auto& [text, ids] : golden_cases(GetParam())) {
    EXPECT_EQ(tokenizer->decode(ids), nfc ? normalize_nfc(text, buffer) : text);
  }
}

TEST_P(BpeTokenizerGolden, ThreadsShareATokenizer) {
  const auto tokenizer = golden(GetParam());
  const auto cases = golden_cases(GetParam());
  const int before = num_threads();
  set_num_threads(4);
  std::vector<Ids> found(40 * cases.size());
  parallel_for(std::ssize(found), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    found[at] = tokenizer->encode(cases[at % cases.size()].text);
  });
  set_num_threads(before);
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], cases[i % cases.size()].ids);
}

TEST(BpeTokenizer, CorpusComesBack) {
  const std::string corpus = read_file(kGolden / "tokenizer_corpus.txt");
  const auto tokenizer = golden("tokenizer_trained.json");
  const Ids ids = tokenizer->encode(corpus);
  EXPECT_LT(ids.size(), corpus.size() / 2);
  EXPECT_EQ(tokenizer->decode(ids), corpus);
}

TEST(BpeTokenizer, MergesOrWholeWords) {
  BpeDefinition definition = small();
  EXPECT_EQ(BpeTokenizer(definition, "merges").encode("theThe"), (Ids{257, 'T', 'h', 'e'}));
  EXPECT_EQ(BpeTokenizer(definition, "merges").encode("The"), (Ids{'T', 'h', 'e'}));
  definition.ignore_merges = true;
  EXPECT_EQ(BpeTokenizer(definition, "words").encode("The the"), (Ids{258, ' ', 257}));
}

TEST(BpeTokenizer, EndOfDocument) {
  BpeDefinition definition = small();
  EXPECT_EQ(BpeTokenizer(definition, "file").eod(), 260);
  definition.added_tokens.push_back({"<|endoftext|>", 261, true, false});
  EXPECT_EQ(BpeTokenizer(definition, "file").eod(), 261);
  EXPECT_EQ(BpeTokenizer(definition, "file").vocab_size(), 262);
  definition.added_tokens = {{"<pad>", 260, true, false}};
  EXPECT_EQ(error_of(definition).find("file: none of added_tokens ends a document"), 0U);
}

TEST(BpeTokenizer, EveryByteNeedsAToken) {
  BpeDefinition definition = small();
  definition.vocabulary[0x80] = "else";
  EXPECT_EQ(error_of(definition), "file: model.vocab has no token for the byte 0x80");
}

TEST(BpeTokenizer, DecodeRejectsIdsWithoutAToken) {
  const BpeTokenizer tokenizer(small(), "file");
  EXPECT_EQ(tokenizer.decode(Ids{257, 260}), "the</s>");
  for (const std::int32_t id : {-1, 259, 261}) EXPECT_THROW(tokenizer.decode(Ids{id}), Error) << id;
}

TEST(BpeTokenizer, EncodeRejectsInvalidUtf8) {
  const BpeTokenizer tokenizer(small(), "file");
  try {
    tokenizer.encode("</s>abc\xFF");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the text is not valid UTF-8 at byte 7 (0xff)");
  }
}

TEST(BpeTokenizer, FingerprintTellsDefinitionsApart) {
  const auto fingerprint_with = [](auto change) {
    BpeDefinition definition = small();
    change(definition);
    return BpeTokenizer(definition, "file").fingerprint();
  };
  const std::string same = fingerprint_with([](BpeDefinition&) {});
  EXPECT_EQ(same, BpeTokenizer(small(), "another file").fingerprint());
  EXPECT_NE(same, fingerprint_with([](BpeDefinition& d) { d.nfc = true; }));
  EXPECT_NE(same, fingerprint_with([](BpeDefinition& d) { d.ignore_merges = true; }));
  EXPECT_NE(same, fingerprint_with([](BpeDefinition& d) { d.split_pattern = kGpt2SplitPattern; }));
  EXPECT_NE(same, fingerprint_with([](BpeDefinition& d) { std::swap(d.merges[0], d.merges[1]); }));
  EXPECT_NE(same, fingerprint_with([](BpeDefinition& d) { d.vocabulary[258] = "THE"; }));
  EXPECT_NE(same, fingerprint_with([](BpeDefinition& d) { d.added_tokens[0].id = 259; }));
}

}  // namespace
}  // namespace hg
