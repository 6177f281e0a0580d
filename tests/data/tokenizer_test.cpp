#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace hg {
namespace {

const std::filesystem::path kGolden = test::source_path("tests/golden");

TEST(LoadTokenizer, Byte) {
  const auto tokenizer = load_tokenizer("byte");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->encode("hi"), (std::vector<std::int32_t>{'h', 'i'}));
}

TEST(LoadTokenizer, AFileOrItsFolder) {
  const test::TempFolder folder;
  std::filesystem::copy_file(kGolden / "tokenizer_trained.json", folder / "tokenizer.json");
  const auto by_file = load_tokenizer((folder / "tokenizer.json").string());
  const auto by_folder = load_tokenizer(folder.path().string());
  EXPECT_EQ(by_file->vocab_size(), 600);
  EXPECT_EQ(by_file->fingerprint(), by_folder->fingerprint());
}

TEST(LoadTokenizer, AMissingFileIsNamed) {
  try {
    load_tokenizer("no/such/tokenizer.json");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("no/such/tokenizer.json"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace hg
