// Byte-level byte-pair encoding, as GPT-2, Llama 3 and Qwen use it.
#pragma once

#include <array>
#include <mutex>
#include <unordered_map>

#include "data/bpe_definition.h"
#include "data/bpe_merger.h"
#include "data/pretokenizer.h"
#include "data/tokenizer.h"
#include "data/word_cache.h"

namespace hg {

/// Gives the ids that Hugging Face's tokenizers gives with add_special_tokens=False. Classes of
/// characters and Normalization Form C are those of the installed PCRE2 and utf8proc, whose version
/// of Unicode may be another.
class BpeTokenizer final : public Tokenizer {
 public:
  /// Errors begin with `name`. Among them: a byte without a token, or no added token that ends
  /// documents.
  BpeTokenizer(BpeDefinition definition, const std::string& name);

  /// Throws unless `text` is well-formed UTF-8 below 2 GiB.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::int32_t eod() const override { return eod_; }
  std::string fingerprint() const override { return fingerprint_; }

 private:
  /// What one call of encode works with.
  struct Scratch {
    Pretokenizer::Scratch pretokenizer;
    WordCache cache;
    BpeMerger merger;
    std::vector<std::int32_t> ids;  // of one word
  };
  /// A scratch out of the pool, or a new one if as many calls run as never before.
  std::unique_ptr<Scratch> take_scratch() const;
  void give_back(std::unique_ptr<Scratch> scratch) const;

  void encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const;

  Pretokenizer pretokenizer_;
  MergeTable merges_;
  std::array<std::int32_t, 256> byte_ids_;
  std::vector<std::string> tokens_;  // bytes of each id; empty: no such id
  std::unordered_map<std::string_view, std::int32_t>
      whole_words_;  // filled if merges are ignored for these
  std::int32_t eod_;
  std::string fingerprint_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> pool_;
};

}  // namespace hg
