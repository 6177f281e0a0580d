#include "data/byte_level.h"

#include <cstdint>

namespace hg {
namespace {

constexpr std::size_t kCharacters = 0x144;  // the last is U+0143

struct Alphabet {
  std::array<unsigned char, 256> order{};
  std::array<std::uint16_t, 256> character{};    // of each byte
  std::array<std::int16_t, kCharacters> byte{};  // of each character, or -1
};

constexpr bool printable(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
}

constexpr Alphabet make_alphabet() {
  Alphabet a;
  for (auto& byte : a.byte) byte = -1;
  std::size_t rank = 0;
  const auto add = [&](unsigned byte, unsigned character) {
    a.order[rank++] = static_cast<unsigned char>(byte);
    a.character[byte] = static_cast<std::uint16_t>(character);
    a.byte[character] = static_cast<std::int16_t>(byte);
  };
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (printable(byte)) add(byte, byte);
  }
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (!printable(byte)) add(byte, next++);
  }
  return a;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::array<unsigned char, 256> byte_level_order() { return kAlphabet.order; }

std::string to_byte_level(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    const unsigned character = kAlphabet.character[static_cast<unsigned char>(byte)];
    if (character < 0x80) {
      text.push_back(static_cast<char>(character));
    } else {
      text.push_back(static_cast<char>(0xC0U | (character >> 6)));
      text.push_back(static_cast<char>(0x80U | (character & 0x3FU)));
    }
  }
  return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned character = static_cast<unsigned char>(text[i]);
    if (character >= 0x80) {  // two bytes of UTF-8, or not of the alphabet
      if ((character & 0xE0U) != 0xC0U || ++i == text.size()) return std::nullopt;
      character = (character & 0x1FU) << 6 | (static_cast<unsigned char>(text[i]) & 0x3FU);
    }
    if (character >= kCharacters || kAlphabet.byte[character] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte[character]));
  }
  return bytes;
}

}  // namespace hg
