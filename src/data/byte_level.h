// GPT-2's byte-level alphabet: how vocabulary files write tokens, which are any bytes, as text.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace hg {

/// The 256 bytes in the order of the characters that stand for them: first the printable ones of
/// Latin-1, which stand for themselves, then the others, for which U+0100 and on stand.
std::array<unsigned char, 256> byte_level_order();

/// `bytes` with each byte as its character, in UTF-8.
std::string to_byte_level(std::string_view bytes);

/// The reverse; nothing if `text` holds a character that stands for no byte.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace hg
