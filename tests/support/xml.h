// What tests of pictures check of any of them.
#pragma once

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

namespace hg::test {

/// How often `part` occurs in `text`.
inline std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// Opening and closing tags match, and no text holds a bare '&'.
inline void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-zA-Z]+)((?: [a-zA-Z0-9:-]+=\"[^\"<]*\")*)(/?)>");
  for (auto at = std::sregex_iterator(xml.begin(), xml.end(), tag); at != std::sregex_iterator();
       ++at) {
    const auto& match = *at;
    if (match[1].length() > 0) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), match[2]);
      open.pop_back();
    } else if (match[4].length() == 0) {
      open.push_back(match[2]);
    }
  }
  EXPECT_TRUE(open.empty());
  const std::string text = std::regex_replace(xml, tag, "");
  EXPECT_EQ(text.find('<'), std::string::npos);
  EXPECT_FALSE(std::regex_search(text, std::regex("&(?!amp;|lt;|gt;)")));
}

}  // namespace hg::test
