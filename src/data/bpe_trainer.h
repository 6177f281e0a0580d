// Trains a byte-level BPE tokenizer: counts words, then merges the most frequent pairs.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/pretokenizer.h"

namespace hg {

/// The result has Qwen's split pattern, Normalization Form C, and as its last id the added special
/// token <|endoftext|>. It does not depend on the number of threads or on the order of the texts.
class BpeTrainer {
 public:
  static constexpr std::string_view kEod = "<|endoftext|>";

  BpeTrainer();

  /// Counts the words of documents. Throws on one that is not UTF-8.
  void add(std::span<const std::string_view> documents);

  /// Learns a vocabulary of `vocab_size` ids: 256 bytes, merges, <|endoftext|>. Throws if no text
  /// was added, or if no pair is left that occurs twice before there are so many.
  BpeDefinition train(std::int64_t vocab_size) const;

  /// The same, written as a tokenizer.json.
  void train(std::int64_t vocab_size, const std::filesystem::path& path) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view word) const {
      return std::hash<std::string_view>{}(word);
    }
  };
  using Counts = std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>>;

  struct Worker {
    Pretokenizer::Scratch scratch;
    Counts counts;
  };

  BpeDefinition untrained_;
  Pretokenizer pretokenizer_;
  std::vector<Worker> workers_;
};

}  // namespace hg
