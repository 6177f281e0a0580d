// From text to words and added tokens: everything that happens before byte pairs are merged.
#pragma once

#include <string>
#include <string_view>

#include "data/added_token_matcher.h"
#include "data/bpe_definition.h"
#include "data/split_regex.h"
#include "data/unicode.h"

namespace hg {

/// Any number of threads may use one object, each with a Scratch of its own.
class Pretokenizer {
 public:
  explicit Pretokenizer(const BpeDefinition& definition);

  struct Scratch {
    SplitRegex::Match match;
    std::string normalized;
  };
  Scratch new_scratch() const { return {regex_.new_match(), {}}; }

  /// Calls on_word(word) and on_token(id), in order, for `text`, which must be well-formed UTF-8.
  template <class OnWord, class OnToken>
  void split(std::string_view text, Scratch& scratch, OnWord&& on_word, OnToken&& on_token) const {
    const auto split_words = [&](std::string_view part) {
      regex_.split(part, scratch.match, on_word);
    };
    const auto split_normalized = [&](std::string_view part) {
      if (nfc_) part = normalize_nfc(part, scratch.normalized);
      in_normalized_.split(part, split_words, on_token);
    };
    in_source_.split(text, split_normalized, on_token);
  }

 private:
  bool nfc_;
  SplitRegex regex_;
  AddedTokenMatcher in_source_, in_normalized_;  // looked for before and after normalisation
};

}  // namespace hg
