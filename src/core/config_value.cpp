#include "core/config_value.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

namespace hg {

bool Bound::holds(double value) const {
  switch (kind) {
    case Kind::above:
      return value > limit;
    case Kind::at_least:
      return value >= limit;
    case Kind::below:
      return value < limit;
    case Kind::at_most:
      return value <= limit;
    case Kind::multiple_of:
      return std::fmod(value, limit) == 0;
  }
  return false;
}

std::string Bound::words() const {
  constexpr std::array<std::string_view, 5> kWords = {">", ">=", "<", "<=", "divisible by"};
  return fmt::format("{} {}", kWords[static_cast<std::size_t>(kind)], limit);
}

std::string ConfigConstraints::length_words() const { return not_empty ? "of length > 0" : ""; }

std::string ConfigConstraints::bounds_words() const {
  std::string words;
  for (const Bound& bound : bounds) words += (words.empty() ? "" : " and ") + bound.words();
  return words;
}

namespace config {
namespace {

template <class T>
std::optional<T> parse_all(std::string_view text) {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

/// Words that other YAML readers take for something else than a string.
bool is_reserved(std::string_view text) {
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 9> kReserved = {"null", "true", "false", "yes", "no",
                                                         "on",   "off",  "y",     "n"};
  return std::ranges::find(kReserved, lower) != kReserved.end();
}

bool is_plain_word(std::string_view text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto is_inner = [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || std::string_view("_-./").find(c) != text.npos;
  };
  return !text.empty() && (is_letter(text[0]) || text[0] == '/' || text[0] == '_') &&
         std::ranges::all_of(text, is_inner) && !is_reserved(text);
}

}  // namespace

template <std::floating_point T>
std::optional<T> parse_number(std::string_view text) {
  const std::optional<T> value = parse_all<T>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}
template std::optional<float> parse_number(std::string_view);
template std::optional<double> parse_number(std::string_view);

bool is_whole(std::string_view text) {
  const std::optional<double> value = parse_number<double>(text);
  return value && std::trunc(*value) == *value;
}

std::optional<std::int64_t> parse_decimal_integer(std::string_view text) {
  constexpr double kExact = 9007199254740992.0;  // 2^53: every integer below has its own double
  const std::optional<double> value = parse_number<double>(text);
  if (!is_whole(text) || std::abs(*value) > kExact) return std::nullopt;
  return static_cast<std::int64_t>(*value);
}

std::string quote(std::string_view text) {
  if (is_plain_word(text)) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", c);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace config
}  // namespace hg
