#include "data/unicode.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace hg {
namespace {

std::string nfc(std::string_view text) {
  std::string buffer;
  return std::string(normalize_nfc(text, buffer));
}

TEST(Utf8, AcceptsWhatIsWellFormed) {
  const std::string_view texts[] = {"",
                                    "ascii only, and more than eight bytes of it",
                                    "h\u00e9",
                                    "\u9053\u53ef\u9053",
                                    "\U0001F600",
                                    "\U0010FFFF",
                                    "\uD7FF\uE000",
                                    std::string_view("\0a", 2)};
  for (const std::string_view text : texts)
    EXPECT_EQ(find_invalid_utf8(text), std::nullopt) << text;
}

TEST(Utf8, FindsTheFirstByteThatIsNot) {
  const struct {
    std::string_view text;
    std::size_t at;
  } cases[] = {
      {"\xFF", 0},
      {"twelve bytes\x80", 12},
      {"\u00e9\xC3(", 2},         // a lead byte without its continuation
      {"a\xC0\xAF", 1},           // '/' in an overlong form
      {"a\xED\xA0\x80", 1},       // a surrogate
      {"ab\xF4\x90\x80\x80", 2},  // beyond U+10FFFF
      {"abc\xE9\x81", 3},         // cut at the end
  };
  for (const auto& [text, at] : cases) EXPECT_EQ(find_invalid_utf8(text), at) << at;
}

TEST(Utf8, ErrorNamesOffsetAndByte) {
  try {
    check_utf8("abc\xFFxyz");
    FAIL() << "no error";
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the text is not valid UTF-8 at byte 3 (0xff)");
  }
}

// From Unicode's NormalizationTest.txt, columns 1 and 2, and its description of blocking.
TEST(Nfc, ComposesAndOrders) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("\u1E9B\u0323"), "\u1E9B\u0323");
  EXPECT_EQ(nfc("\u212B"), "\u00C5");                                // the Angstrom sign
  EXPECT_EQ(nfc("\u1112\u1161\u11AB"), "\uD55C");                    // Hangul from jamo
  EXPECT_EQ(nfc("D\u0307\u0323"), "\u1E0C\u0307");                   // ordered, then composed
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093C");                          // excluded from composition
  EXPECT_EQ(nfc("<\u0338 e\u0301\u0301x"), "\u226E \u00e9\u0301x");  // one mark a base character
  EXPECT_EQ(nfc("\u0301e"), "\u0301e");                              // a mark without a base
}

TEST(Nfc, ReturnsTheTextItselfWhereNothingCanChange) {
  std::string buffer = "untouched";
  for (const std::string_view text : {"", "plain", "d\u00e9j\u00e0 vu \u02FF"}) {
    EXPECT_EQ(normalize_nfc(text, buffer).data(), text.data());
  }
  EXPECT_EQ(buffer, "untouched");
}

TEST(Nfc, TouchesOnlyWhatStandsInTheWay) {
  EXPECT_EQ(nfc("\u9053 and e\u0301, \u201Cquoted\u201D"), "\u9053 and \u00e9, \u201Cquoted\u201D");
  EXPECT_EQ(nfc("a\u00e9e\u0301"), "a\u00e9\u00e9");
}

TEST(Nfc, OrdersALongRunOfMarks) {
  std::string text = "a", ordered = "\u1EA1";  // a with the first dot below
  constexpr int kMarks = 50'000;
  for (int i = 0; i < kMarks; ++i) text += "\u0308\u0323";
  for (int i = 1; i < kMarks; ++i) ordered += "\u0323";
  for (int i = 0; i < kMarks; ++i) ordered += "\u0308";
  EXPECT_TRUE(nfc(text) == ordered);
}

}  // namespace
}  // namespace hg
