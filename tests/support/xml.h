// What tests of pictures check of any of them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
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

/// The end of a tag's attributes, ` name="value"` each, that begin at `at`.
inline std::size_t skip_attributes(const std::string& xml, std::size_t at) {
  constexpr const char* kName = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-";
  while (at < xml.size() && xml[at] == ' ') {
    const std::size_t equals = xml.find_first_not_of(kName, at + 1);
    if (xml.compare(equals, 2, "=\"") != 0) return at;
    const std::size_t quote = xml.find_first_of("\"<", equals + 2);
    if (quote == std::string::npos || xml[quote] == '<') return at;
    at = quote + 1;
  }
  return at;
}

/// Opening and closing tags match, and no text holds a bare '&'. By hand, as std::regex calls
/// itself for each character of a long attribute.
inline void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  std::string text;
  std::size_t at = 0;
  while (true) {
    const std::size_t tag = std::min(xml.find('<', at), xml.size());
    text += xml.substr(at, tag - at);
    if (tag == xml.size()) break;
    const bool closes = xml.compare(tag, 2, "</") == 0;
    const std::size_t begin = tag + (closes ? 2 : 1);
    std::size_t end = begin;
    while (end < xml.size() && std::isalpha(static_cast<unsigned char>(xml[end])) != 0) ++end;
    const std::string name = xml.substr(begin, end - begin);
    end = skip_attributes(xml, end);
    const bool alone = xml.compare(end, 2, "/>") == 0;
    ASSERT_TRUE(!name.empty() && (alone || xml.compare(end, 1, ">") == 0))
        << xml.substr(tag, 80) << "...";
    if (closes) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), name);
      open.pop_back();
    } else if (!alone) {
      open.push_back(name);
    }
    at = end + (alone ? 2 : 1);
  }
  EXPECT_TRUE(open.empty());
  EXPECT_FALSE(std::regex_search(text, std::regex("&(?!amp;|lt;|gt;)")));
}

}  // namespace hg::test
