#include "train/inspect/token_label.h"

#include <gtest/gtest.h>

namespace hg::test {
namespace {

TEST(TokenLabel, WhiteSpaceAndControlCharactersAreVisible) {
  EXPECT_EQ(token_label(" the", 12), "␣the");
  EXPECT_EQ(token_label("\n\t\r", 12), "↵⇥␍");
  EXPECT_EQ(token_label(std::string_view("\0\x1f\x7f", 3), 12), "␀␟␡");
  EXPECT_EQ(token_label("\u00A0", 12), "⍽");
}

TEST(TokenLabel, IsEscapedForXml) {
  EXPECT_EQ(token_label("<a&b>", 12), "&lt;a&amp;b&gt;");
  EXPECT_EQ(token_label("\uFFFF", 12), "\uFFFD");
}

TEST(TokenLabel, BytesThatAreNoUtf8AreHexadecimal) {
  EXPECT_EQ(token_label("\xe2\x82", 12), "\\xe2\\x82");  // two thirds of a euro sign
  EXPECT_EQ(token_label("a\xff€", 12), "a\\xff€");
}

TEST(TokenLabel, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(token_label("äöüß", 4), "äöüß");
  EXPECT_EQ(token_label("äöüß!", 4), "äöü…");
  EXPECT_EQ(token_label("&&&&&", 4), "&amp;&amp;&amp;…");
  EXPECT_EQ(token_label("\xff\xff", 4), "\\xf…");
  EXPECT_EQ(token_label("", 4), "");
}

}  // namespace
}  // namespace hg::test
