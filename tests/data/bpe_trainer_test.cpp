#include "data/bpe_trainer.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/file.h"
#include "core/parallel.h"
#include "data/bpe_tokenizer.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg {
namespace {

const std::filesystem::path kGolden = test::source_path("tests/golden");

BpeTrainer trainer_with(std::vector<std::string_view> documents) {
  BpeTrainer trainer;
  trainer.add(documents);
  return trainer;
}

template <class Fn>
std::string error_of(Fn fn) {
  try {
    fn();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

// Hugging Face's trainer learns the same merges: scripts/oracle/make_tokenizer_goldens.py.
TEST(BpeTrainer, LearnsTheGoldenTokenizer) {
  const test::TempFolder folder;
  const std::string corpus = read_file(kGolden / "tokenizer_corpus.txt");
  trainer_with({corpus}).train(600, folder / "tokenizer.json");
  EXPECT_EQ(read_file(folder / "tokenizer.json"), read_file(kGolden / "tokenizer_trained.json"));
}

TEST(BpeTrainer, SameForAnyThreadCountOrderAndCutOfTheText) {
  const std::string corpus = read_file(kGolden / "tokenizer_corpus.txt");
  std::string text;  // long enough to be cut into pieces for threads
  while (text.size() < 2'000'000) text += corpus;
  const std::size_t half = text.find("\n1:1", text.size() / 2) + 1;
  const std::string_view whole = text, first = whole.substr(0, half), second = whole.substr(half);

  const int before = num_threads();
  set_num_threads(1);
  const std::string one = fingerprint(trainer_with({whole}).train(800));
  set_num_threads(2);
  const std::string two = fingerprint(trainer_with({whole}).train(800));
  BpeTrainer in_parts = trainer_with({second});
  in_parts.add(std::vector{first});
  const std::string parts = fingerprint(in_parts.train(800));
  set_num_threads(before);
  EXPECT_EQ(one, two);
  EXPECT_EQ(one, parts);
}

TEST(BpeTrainer, TextsAreNormalizedAndWithoutTheEndOfDocument) {
  const BpeDefinition composed = trainer_with({"caf\u00e9 caf\u00e9"}).train(260);
  EXPECT_EQ(fingerprint(trainer_with({"cafe\u0301 cafe\u0301"}).train(260)), fingerprint(composed));
  EXPECT_EQ(fingerprint(trainer_with({"caf\u00e9<|endoftext|> caf\u00e9"}).train(260)),
            fingerprint(composed));
}

TEST(BpeTrainer, TheSmallestVocabularyIsBytesAndTheEndOfDocument) {
  const BpeTokenizer tokenizer(trainer_with({"a"}).train(257), "trained");
  EXPECT_EQ(tokenizer.vocab_size(), 257);
  EXPECT_EQ(tokenizer.eod(), 256);
  EXPECT_EQ(tokenizer.encode("ab<|endoftext|>").size(), 3U);
}

TEST(BpeTrainer, Errors) {
  EXPECT_EQ(error_of([] { trainer_with({"text"}).train(256); }),
            "a vocabulary of 256 ids is too small: 256 bytes and <|endoftext|> need 257");
  EXPECT_EQ(error_of([] { trainer_with({""}).train(300); }),
            "there is no text to train a tokenizer on");
  EXPECT_EQ(error_of([] { trainer_with({"aaaa aaaa"}).train(300); }),
            "the text is too small for a vocabulary of 300 ids: no pair of tokens occurs twice "
            "after 259");
  EXPECT_EQ(error_of([] {
              trainer_with({"good", "ab\xFF"});
            }),
            "the text is not valid UTF-8 at byte 2 (0xff)");
}

TEST(BpeTrainer, AFailedTrainingLeavesNoFile) {
  const test::TempFolder folder;
  EXPECT_THROW(trainer_with({"aaaa"}).train(300, folder / "tokenizer.json"), Error);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace hg
