// Tokens as labels in XML.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace hg {

/// A token's text for the eye, escaped for XML: white space as visible signs, control characters as
/// their pictures, bytes that are no UTF-8 in hexadecimal. What is longer than `columns` characters
/// (at least 1) is cut and ends with an ellipsis.
std::string token_label(std::string_view text, std::size_t columns);

}  // namespace hg
