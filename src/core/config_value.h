// Values of config keys: which types and constraints a key may have, and how scalars are read.
#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/config_node.h"
#include "core/config_problems.h"

namespace hg {

/// Specialise beside an enum that a config uses: `static constexpr std::pair<E, std::string_view>
/// values[] = {{E::cosine, "cosine"}, ...};`
template <class E>
struct EnumNames;

/// The name of an enumerator, as in EnumNames.
template <class E>
constexpr std::string_view enum_name(E value) {
  for (const auto& [candidate, name] : EnumNames<E>::values) {
    if (candidate == value) return name;
  }
  return {};
}

/// A bound on a number, or on every number of a list.
struct Bound {
  enum class Kind { above, at_least, below, at_most, multiple_of };
  Kind kind;
  double limit;

  bool holds(double value) const;
  std::string words() const;  ///< "> 0"
};

inline constexpr Bound positive{Bound::Kind::above, 0};
constexpr Bound above(double limit) { return {Bound::Kind::above, limit}; }
constexpr Bound at_least(double limit) { return {Bound::Kind::at_least, limit}; }
constexpr Bound below(double limit) { return {Bound::Kind::below, limit}; }
constexpr Bound at_most(double limit) { return {Bound::Kind::at_most, limit}; }
constexpr Bound multiple_of(std::int64_t n) {
  return {Bound::Kind::multiple_of, static_cast<double>(n)};
}

/// The key must be given; its member's initial value is never used.
inline constexpr struct Required {
} required;

/// A string or a list may not be empty.
inline constexpr struct NotEmpty {
} not_empty;

/// All constraints of one key.
struct ConfigConstraints {
  std::vector<Bound> bounds;
  bool required = false, not_empty = false;

  void add(Bound bound) { bounds.push_back(bound); }
  void add(Required) { required = true; }
  void add(NotEmpty) { not_empty = true; }
  /// "of length > 0" and "> 0 and divisible by 8": empty where there is no such constraint.
  std::string length_words() const;
  std::string bounds_words() const;
};

/// A struct that lists its fields: a section of the config.
template <class T>
concept ConfigSection = requires(T& value) {
  value.fields([](auto&&...) {});
};

namespace config {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_vector = false;
template <class T>
inline constexpr bool is_vector<std::vector<T>> = true;
template <class T>
struct Innermost {
  using Type = T;
};
template <class T>
struct Innermost<std::optional<T>> : Innermost<T> {};
template <class T>
struct Innermost<std::vector<T>> : Innermost<T> {};

template <class T>
inline constexpr bool is_text =
    std::same_as<T, std::string> || std::same_as<T, std::filesystem::path>;
template <class T>
concept Integer = std::integral<T> && !std::same_as<T, bool>;
template <class T>
concept Number = Integer<T> || std::floating_point<T>;

/// Integers written as 1e6 or 20.0: exact, up to 2^53.
std::optional<std::int64_t> parse_decimal_integer(std::string_view text);

/// Nothing if the text is no integer (1.5) or T cannot hold it.
template <Integer T>
std::optional<T> parse_integer(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  const std::optional<std::int64_t> decimal = parse_decimal_integer(text);
  if (!decimal || !std::in_range<T>(*decimal)) return std::nullopt;
  return static_cast<T>(*decimal);
}

/// Finite, correctly rounded to T (float or double).
template <std::floating_point T>
std::optional<T> parse_number(std::string_view text);

/// True for 5, 1e6 and 1e30, which no integer type may hold.
bool is_whole(std::string_view text);

/// A YAML scalar that reads back as this string, in quotes unless it is a plain word.
std::string quote(std::string_view text);

/// "cosine | linear | wsd" with " | " between the names.
template <class E>
std::string enum_names(std::string_view separator) {
  std::string names;
  for (const auto& [value, name] : EnumNames<E>::values) {
    if (!names.empty()) names += separator;
    names += name;
  }
  return names;
}

/// A type as documentation writes it: "number or null", "cosine | linear", "[string, ...]".
template <class T>
std::string type_name() {
  if constexpr (is_optional<T>) {
    return fmt::format("{} or null", type_name<typename T::value_type>());
  } else if constexpr (is_vector<T>) {
    return fmt::format("[{}, ...]", type_name<typename T::value_type>());
  } else if constexpr (std::is_enum_v<T>) {
    return enum_names<T>(" | ");
  } else {
    return std::same_as<T, ConfigNode> ? "anything"
           : ConfigSection<T>          ? "section"
           : std::same_as<T, bool>     ? "boolean"
           : Integer<T>                ? "integer"
           : std::floating_point<T>    ? "number"
                                       : "string";
  }
}

/// What a message about `node` says was expected: "a number", "one of cosine, linear, wsd".
template <class T>
std::string expected(const ConfigNode& node) {
  if constexpr (is_vector<T>) {
    return "a list";
  } else if constexpr (ConfigSection<T>) {
    return "a section";
  } else if constexpr (std::is_enum_v<T>) {
    return fmt::format("one of {}", enum_names<T>(", "));
  } else if constexpr (std::same_as<T, bool>) {
    return "true or false";
  } else if constexpr (Integer<T>) {
    if (!is_whole(node.text) || parse_integer<T>(node.text)) return "an integer";
    return fmt::format("an integer from {} to {}", std::numeric_limits<T>::min(),
                       std::numeric_limits<T>::max());
  } else {
    return std::floating_point<T> ? "a number" : "a string";
  }
}

/// Nothing if the node is no scalar of this type.
template <class T>
std::optional<T> parse_scalar(const ConfigNode& node) {
  const bool scalar = node.kind == ConfigNode::Kind::scalar;
  if (!std::same_as<T, ConfigNode> && !scalar) return std::nullopt;
  if constexpr (std::same_as<T, ConfigNode>) {
    return node;
  } else if constexpr (is_text<T>) {
    return T(node.text);
  } else if constexpr (std::is_enum_v<T>) {
    for (const auto& [value, name] : EnumNames<T>::values) {
      if (name == node.text) return value;
    }
    return std::nullopt;
  } else {
    if (node.quoted) return std::nullopt;  // '5' is a string
    if constexpr (std::same_as<T, bool>) {
      if (node.text != "true" && node.text != "false") return std::nullopt;
      return node.text == "true";
    } else if constexpr (Integer<T>) {
      return parse_integer<T>(node.text);
    } else {
      return parse_number<T>(node.text);
    }
  }
}

template <class T>
bool satisfies(const T& value, const ConfigConstraints& constraints) {
  if constexpr (is_text<T> || is_vector<T>) {
    return !constraints.not_empty || !value.empty();
  } else if constexpr (Number<T>) {
    return std::ranges::all_of(constraints.bounds, [&](const Bound& bound) {
      return bound.holds(static_cast<double>(value));
    });
  } else {
    return true;
  }
}

}  // namespace config
}  // namespace hg
