#include "data/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <vector>

#include "core/check.h"

namespace hg {
namespace {

using Byte = unsigned char;

const utf8proc_uint8_t* units(std::string_view text) {
  return reinterpret_cast<const utf8proc_uint8_t*>(text.data());
}

/// The first non-ASCII byte at or after `at`; eight bytes at a time.
std::size_t skip_ascii(std::string_view text, std::size_t at) {
  for (std::uint64_t word; at + sizeof word <= text.size(); at += sizeof word) {
    std::memcpy(&word, text.data() + at, sizeof word);
    if ((word & 0x8080808080808080U) != 0) break;
  }
  while (at < text.size() && static_cast<Byte>(text[at]) < 0x80) ++at;
  return at;
}

std::size_t skip_non_ascii(std::string_view text, std::size_t at) {
  while (at < text.size() && static_cast<Byte>(text[at]) >= 0x80) ++at;
  return at;
}

/// All characters below U+0300, whose lead bytes are below 0xCC, are their own normal form, and
/// none of them combines with another.
bool may_change(std::string_view text) {
  Byte highest = 0;  // the whole text and not the first hit: this loop vectorises
  for (const char c : text) highest = std::max(highest, static_cast<Byte>(c));
  return highest >= 0xCC;
}

constexpr auto kOptions = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

std::vector<utf8proc_int32_t> decompose(std::string_view text) {
  std::vector<utf8proc_int32_t> characters;
  characters.reserve(text.size());
  int boundary = UTF8PROC_BOUNDCLASS_START;  // utf8proc's own state, for an option not used here
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t character;
    const auto size = utf8proc_iterate(units(text) + at,
                                       static_cast<utf8proc_ssize_t>(text.size() - at), &character);
    HG_CHECK(size > 0, "cannot normalize text that is not valid UTF-8");
    at += static_cast<std::size_t>(size);
    std::array<utf8proc_int32_t, 8> parts;  // Unicode's canonical decompositions have four at most
    const auto count =
        utf8proc_decompose_char(character, parts.data(), parts.size(), kOptions, &boundary);
    HG_CHECK(count >= 0 && count <= std::ssize(parts), "cannot normalize U+{:04X}", character);
    characters.insert(characters.end(), parts.begin(), parts.begin() + count);
  }
  return characters;
}

/// Sorts the marks behind each base character by combining class. utf8proc_map would do so too, but
/// with a bubble sort, which a long run of marks brings to a halt.
void order_marks(std::vector<utf8proc_int32_t>& characters) {
  const auto combining_class = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  const auto is_base = [&](utf8proc_int32_t c) { return combining_class(c) == 0; };
  for (auto at = characters.begin(); at != characters.end();) {
    const auto begin = std::find_if_not(at, characters.end(), is_base);
    at = std::find_if(begin, characters.end(), is_base);
    std::ranges::stable_sort(begin, at, {}, combining_class);
  }
}

void append_nfc(std::string_view text, std::string& out) {
  auto characters = decompose(text);
  order_marks(characters);
  const auto count = utf8proc_normalize_utf32(characters.data(), std::ssize(characters), kOptions);
  characters.resize(static_cast<std::size_t>(count));
  for (const utf8proc_int32_t character : characters) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto size = utf8proc_encode_char(character, bytes.data());
    out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(size));
  }
}

}  // namespace

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  std::size_t at = skip_ascii(text, 0);
  while (at < text.size()) {
    utf8proc_int32_t code_point;
    const auto size = utf8proc_iterate(
        units(text) + at, static_cast<utf8proc_ssize_t>(text.size() - at), &code_point);
    if (size <= 0) return at;
    at += static_cast<std::size_t>(size);
    if (code_point < 0x80) at = skip_ascii(text, at);
  }
  return std::nullopt;
}

void check_utf8(std::string_view text) {
  const auto at = find_invalid_utf8(text);
  HG_CHECK(!at, "the text is not valid UTF-8 at byte {} (0x{:02x})", *at,
           static_cast<Byte>(text[*at]));
}

std::string_view normalize_nfc(std::string_view text, std::string& buffer) {
  if (!may_change(text)) return text;
  buffer.clear();
  std::size_t at = 0;
  while (at < text.size()) {
    // No ASCII character combines with what stands before it: runs of others, each with the ASCII
    // character in front of it, can be normalised one by one.
    const std::size_t run = skip_ascii(text, at), end = skip_non_ascii(text, run);
    const std::size_t begin = run > at ? run - 1 : run;
    buffer.append(text, at, begin - at);
    const std::string_view piece = text.substr(begin, end - begin);
    if (may_change(piece)) {
      append_nfc(piece, buffer);
    } else {
      buffer.append(piece);
    }
    at = end;
  }
  return buffer;
}

}  // namespace hg
