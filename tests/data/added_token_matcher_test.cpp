#include "data/added_token_matcher.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace hg {
namespace {

/// Texts in brackets, tokens by id.
std::string split(const AddedTokenMatcher& matcher, std::string_view text) {
  std::string out;
  matcher.split(
      text, [&](std::string_view part) { out += fmt::format("[{}]", part); },
      [&](std::int32_t id) { out += std::to_string(id); });
  return out;
}

TEST(AddedTokenMatcher, CutsTextAtTokens) {
  const AddedTokenMatcher matcher({{"<a>", 1}, {"<b>", 2}});
  EXPECT_EQ(split(matcher, "x<a>y<b><a>"), "[x]1[y]21");
  EXPECT_EQ(split(matcher, "<b>x"), "2[x]");
  EXPECT_EQ(split(matcher, "<<a><a"), "[<]1[<a]");
  EXPECT_EQ(split(matcher, ""), "");
}

TEST(AddedTokenMatcher, LeftmostThenLongest) {
  const AddedTokenMatcher matcher({{"ab", 1}, {"abcd", 2}, {"bcde", 3}});
  EXPECT_EQ(split(matcher, "abcde"), "2[e]");
  EXPECT_EQ(split(matcher, "abcx"), "1[cx]");
  EXPECT_EQ(split(matcher, "xbcde"), "[x]3");
}

TEST(AddedTokenMatcher, WithoutTokensAllIsText) {
  EXPECT_EQ(split(AddedTokenMatcher({}), "<a>"), "[<a>]");
}

}  // namespace
}  // namespace hg
