#include "data/byte_tokenizer.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace hg {
namespace {

TEST(ByteTokenizer, EveryByteIsItsOwnId) {
  const ByteTokenizer tokenizer;
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  const auto ids = tokenizer.encode(bytes);
  ASSERT_EQ(ids.size(), 256U);
  for (std::int32_t id = 0; id < 256; ++id) EXPECT_EQ(ids[static_cast<std::size_t>(id)], id);
  EXPECT_EQ(tokenizer.decode(ids), bytes);
}

TEST(ByteTokenizer, EndOfDocumentIsTheLastIdAndNoText) {
  const ByteTokenizer tokenizer;
  EXPECT_EQ(tokenizer.eod(), 256);
  EXPECT_EQ(tokenizer.vocab_size(), 257);
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{'a', 256, 'b'}), "ab");
}

TEST(ByteTokenizer, DecodeRejectsIdsOutsideTheVocabulary) {
  const ByteTokenizer tokenizer;
  for (const std::int32_t id : {-1, 257}) {
    EXPECT_THROW(tokenizer.decode(std::vector<std::int32_t>{id}), Error) << id;
  }
}

}  // namespace
}  // namespace hg
