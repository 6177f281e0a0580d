// What defines a byte-level BPE tokenizer, apart from the layout of its file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hg {

/// Cuts text into words: Qwen2 and Qwen3's expression, GPT-4's but for single digits.
inline constexpr std::string_view kQwenSplitPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// GPT-2's expression.
inline constexpr std::string_view kGpt2SplitPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Ids `left` and `right`, side by side in a word, become `result`.
struct BpeMerge {
  std::int32_t left, right, result;
  bool operator==(const BpeMerge&) const = default;
};

/// A token that is found in the text as it stands, before the text is cut into words.
struct AddedToken {
  std::string content;
  std::int32_t id;
  bool special;     ///< no text, but a mark such as the end of a document
  bool normalized;  ///< looked for in the text after normalisation, not before
};

struct BpeDefinition {
  bool nfc = false;           ///< text is brought to Normalization Form C first
  std::string split_pattern;  ///< regular expression of a word
  bool ignore_merges =
      false;  ///< a word that is in the vocabulary is that token, whatever the merges say
  std::vector<std::string>
      vocabulary;                ///< bytes of each id; empty where an id is no token of the model
  std::vector<BpeMerge> merges;  ///< the first has precedence
  std::vector<AddedToken> added_tokens;
};

/// A hash of all that makes two tokenizers encode differently.
std::string fingerprint(const BpeDefinition& definition);

}  // namespace hg
