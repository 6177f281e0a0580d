#include "data/byte_level.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hg {
namespace {

TEST(ByteLevel, KnownCharacters) {
  EXPECT_EQ(to_byte_level(" the"), "\u0120the");  // a space is G with a dot above
  EXPECT_EQ(to_byte_level("\n"), "\u010A");
  EXPECT_EQ(to_byte_level("\xAD"), "\u0143");  // the soft hyphen, the last that is not printable
  EXPECT_EQ(to_byte_level("\u00e9"), "\u00C3\u00A9");
}

TEST(ByteLevel, EveryByteComesBack) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  EXPECT_EQ(from_byte_level(to_byte_level(bytes)), bytes);
}

TEST(ByteLevel, OrderIsThatOfTheCharacters) {
  const auto order = byte_level_order();
  std::vector<std::string> characters;
  for (const unsigned char byte : order) {
    characters.push_back(to_byte_level(std::string(1, static_cast<char>(byte))));
  }
  EXPECT_TRUE(std::ranges::is_sorted(characters));  // UTF-8 sorts like code points
  EXPECT_EQ(order[0], '!');
  EXPECT_EQ(order[255], 0xAD);
}

TEST(ByteLevel, OtherCharactersStandForNothing) {
  for (const std::string_view text :
       {" ", "a b", "\u0144", "\u00AD", "\u2581", "\U0001F600", "\xC4"}) {
    EXPECT_EQ(from_byte_level(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace hg
