// A regular expression that cuts text into words, through PCRE2.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace hg {

/// Both the matches and what lies between them are words, as in Hugging Face's Split with behaviour
/// "isolated". Classes of characters are those of Unicode. Any number of threads may use one
/// object, each with a Match of its own.
class SplitRegex {
 public:
  /// Throws unless `pattern` compiles and always matches at least one character.
  explicit SplitRegex(std::string_view pattern);

  struct Free {
    void operator()(pcre2_real_code_8* code) const;
    void operator()(pcre2_real_match_data_8* match) const;
  };
  using Match = std::unique_ptr<pcre2_real_match_data_8, Free>;
  Match new_match() const;

  /// Calls fn(word) for the words of `text`, in order; together they are the whole text, which must
  /// be well-formed UTF-8.
  template <class Fn>
  void split(std::string_view text, Match& match, Fn&& fn) const {
    for (std::size_t at = 0; at < text.size();) {
      const auto [begin, end] = find(text, at, match);
      if (begin > at) fn(text.substr(at, begin - at));
      if (end > begin) fn(text.substr(begin, end - begin));
      at = end;
    }
  }

 private:
  /// The first match at or after `at`; the end of the text twice if there is none.
  std::pair<std::size_t, std::size_t> find(std::string_view text, std::size_t at,
                                           Match& match) const;

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace hg
