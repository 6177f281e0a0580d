#include "data/split_regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/check.h"
#include "data/bpe_definition.h"

namespace hg {
namespace {

using Words = std::vector<std::string>;

Words split(std::string_view pattern, std::string_view text) {
  const SplitRegex regex(pattern);
  auto match = regex.new_match();
  Words words;
  regex.split(text, match, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

TEST(SplitRegex, Qwen) {
  EXPECT_EQ(split(kQwenSplitPattern, "I'LL see 42 caf\u00e9s..."),
            (Words{"I", "'LL", " see", " ", "4", "2", " caf\u00e9s", "..."}));
  EXPECT_EQ(split(kQwenSplitPattern, "a  b \r\n\n  c"),
            (Words{"a", " ", " b", " \r\n\n", " ", " c"}));
}

TEST(SplitRegex, Gpt2) {
  EXPECT_EQ(split(kGpt2SplitPattern, "I'LL don't 42!"),
            (Words{"I", "'", "LL", " don", "'t", " 42", "!"}));
}

TEST(SplitRegex, WhatLiesBetweenMatchesIsAWord) {
  EXPECT_EQ(split("[0-9]+", "ab12cd3"), (Words{"ab", "12", "cd", "3"}));
  EXPECT_EQ(split("[0-9]+", "none"), Words{"none"});
  EXPECT_EQ(split("[0-9]+", ""), Words{});
}

TEST(SplitRegex, SpaceIsUnicodesWhiteSpace) {
  EXPECT_EQ(split("\\s", "a\u0085b\u3000c"), (Words{"a", "\u0085", "b", "\u3000", "c"}));
  EXPECT_EQ(split("\\s", "a\u180Eb"), Words{"a\u180Eb"});
  EXPECT_EQ(split("[^\\S\\n]", "a b\nc"), (Words{"a", " ", "b\nc"}));
  EXPECT_EQ(split("\\\\s", "a\\sb c"), (Words{"a", "\\s", "b c"}));  // a backslash, then an s
}

TEST(SplitRegex, AMillionSpacesAreOneWord) {
  const std::string spaces(1'000'000, ' ');
  EXPECT_EQ(split(kQwenSplitPattern, spaces + "x").size(), 2U);
}

TEST(SplitRegex, RejectsBadPatterns) {
  EXPECT_THROW(SplitRegex("(unclosed"), Error);
  EXPECT_THROW(SplitRegex("a*"), Error);
}

}  // namespace
}  // namespace hg
