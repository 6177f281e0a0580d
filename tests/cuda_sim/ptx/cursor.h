// Reads PTX by words and characters.
#pragma once

#include <cctype>
#include <charconv>
#include <string>
#include <string_view>

#include "core/check.h"

namespace cuda_sim::ptx {

/// Characters, and the line they are in.
class Cursor {
 public:
  Cursor(std::string_view text, const std::string& path, unsigned line)
      : rest_(text), path_(path), line_(line) {}

  [[noreturn]] void fail(const std::string& sentence) const {
    hg::fail("{}:{}: {}", path_, line_, sentence);
  }
  unsigned line() const { return line_; }

  bool accept(char c) {
    skip_space();
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(fmt::format("'{}' where '{}' was expected", rest_.substr(0, 1), c));
  }
  /// A name, a number or an opcode; empty if another character comes.
  std::string_view word() {
    skip_space();
    return take([](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%' ||
             c == '.' || c == '-' || c == ':';
    });
  }
  std::string_view until(char end) {
    skip_space();
    const std::string_view result = take([&](char c) { return c != end; });
    expect(end);
    return result;
  }
  std::string_view rest_of_line() {
    return take([](char c) { return c != '\n'; });
  }

 private:
  template <class Belongs>
  std::string_view take(Belongs&& belongs) {
    std::size_t n = 0;
    for (; n < rest_.size() && belongs(rest_[n]); ++n) line_ += rest_[n] == '\n' ? 1 : 0;
    const std::string_view result = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return result;
  }
  void skip_space() {
    while (true) {
      take([](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; });
      if (!rest_.starts_with("//")) return;
      rest_of_line();
    }
  }

  std::string_view rest_;
  const std::string& path_;
  unsigned line_;
};

/// The number that a text begins with, else 0.
inline std::size_t number_in(std::string_view digits) {
  std::size_t result = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), result);
  return result;
}

/// Bytes of a type such as ".u32".
inline std::size_t size_of_type(std::string_view type, const Cursor& at) {
  std::size_t bits = 0;
  std::from_chars(type.data() + 2, type.data() + type.size(), bits);
  if (bits % 8 != 0 || bits == 0) at.fail(fmt::format("a parameter of type {}", type));
  return bits / 8;
}

}  // namespace cuda_sim::ptx
