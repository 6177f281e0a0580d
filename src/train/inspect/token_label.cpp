#include "train/inspect/token_label.h"

#include <vector>

#include "core/check.h"
#include "data/unicode.h"

namespace hg {
namespace {

/// The UTF-8 form of one of U+2400 to U+243F, the pictures of control characters.
std::string control_picture(unsigned offset) {
  return {'\xE2', '\x90', static_cast<char>(0x80U + offset)};
}

/// One well-formed character as it may stand in XML, and be seen.
std::string visible(std::string_view character) {
  if (character == " ") return "\u2423";  // open box
  if (character == "\n") return "\u21B5";
  if (character == "\t") return "\u21E5";
  if (character == "&") return "&amp;";
  if (character == "<") return "&lt;";
  if (character == ">") return "&gt;";
  if (character == "\u00A0") return "\u237D";                           // shouldered open box
  if (character == "\uFFFE" || character == "\uFFFF") return "\uFFFD";  // not allowed in XML
  const auto first = static_cast<unsigned char>(character[0]);
  if (first < 0x20) return control_picture(first);
  if (first == 0x7F) return control_picture(0x21);
  return std::string(character);
}

std::size_t length_of_character(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

std::string token_label(std::string_view text, std::size_t columns) {
  std::vector<std::string> characters;
  while (!text.empty() && characters.size() <= columns) {
    if (find_invalid_utf8(text.substr(0, 4)) == 0) {
      for (const char c : fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]))) {
        characters.emplace_back(1, c);
      }
      text.remove_prefix(1);
      continue;
    }
    const std::size_t length = length_of_character(text[0]);
    characters.push_back(visible(text.substr(0, length)));
    text.remove_prefix(length);
  }
  if (characters.size() > columns) {
    characters.resize(columns);
    characters.back() = "\u2026";
  }
  std::string label;
  for (const auto& character : characters) label += character;
  return label;
}

}  // namespace hg
