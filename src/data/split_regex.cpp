#include "data/split_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <string>

#include "core/check.h"

namespace hg {
namespace {

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

/// In PCRE2, \s is White_Space and U+180E, which Unicode no longer counts as such; in the engines
/// that tokenizers are defined by it is White_Space alone.
std::string with_unicode_space(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out.push_back(pattern[i]);
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') {
      out += "\\p{White_Space}";
    } else if (escaped == 'S') {
      out += "\\P{White_Space}";
    } else {
      out += {'\\', escaped};
    }
  }
  return out;
}

}  // namespace

void SplitRegex::Free::operator()(pcre2_code* code) const { pcre2_code_free(code); }
void SplitRegex::Free::operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }

SplitRegex::SplitRegex(std::string_view pattern) {
  const std::string source = with_unicode_space(pattern);
  int error = 0;
  std::size_t offset = 0;
  code_.reset(
      pcre2_compile(units(source), source.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
  HG_CHECK(code_, "regular expression \"{}\" at byte {}: {}", source, offset, message_of(error));
  std::uint32_t may_be_empty = 0;
  pcre2_pattern_info(code_.get(), PCRE2_INFO_MATCHEMPTY, &may_be_empty);
  HG_CHECK(may_be_empty == 0, "regular expression \"{}\" matches the empty text", source);
  // Where a system forbids generated code, this fails and pcre2_match interprets: slower, but
  // equal.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

SplitRegex::Match SplitRegex::new_match() const {
  Match match(pcre2_match_data_create(1, nullptr));  // the whole match; groups are not asked for
  HG_CHECK(match, "out of memory for a regular expression's match");
  return match;
}

std::pair<std::size_t, std::size_t> SplitRegex::find(std::string_view text, std::size_t at,
                                                     Match& match) const {
  const int found = pcre2_match(code_.get(), units(text), text.size(), at, PCRE2_NO_UTF_CHECK,
                                match.get(), nullptr);
  if (found == PCRE2_ERROR_NOMATCH) return {text.size(), text.size()};
  HG_CHECK(found >= 0, "cannot split text at byte {}: {}", at, message_of(found));
  const std::size_t* bounds = pcre2_get_ovector_pointer(match.get());
  return {bounds[0], bounds[1]};
}

}  // namespace hg
