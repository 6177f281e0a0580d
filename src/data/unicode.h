// UTF-8 well-formedness and Normalization Form C.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace hg {

/// Offset of the first byte that does not belong to well-formed UTF-8 (no overlong forms,
/// surrogates or cut characters), if there is one.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// Throws unless `text` is well-formed UTF-8, with the offset and the byte.
void check_utf8(std::string_view text);

/// `text`, which must be well-formed, in Normalization Form C (Unicode Standard Annex 15): `text`
/// itself if nothing in it can change, otherwise a view of `buffer`.
std::string_view normalize_nfc(std::string_view text, std::string& buffer);

}  // namespace hg
