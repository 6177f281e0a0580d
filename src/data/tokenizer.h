// Text to token ids and back. Which tokenizer it is, is known at run time only.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hg {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// The ids of `text`, without any end-of-document id of its own. Any number of threads may call
  /// it at once.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;

  /// The bytes that `ids` stand for: not always whole UTF-8 characters, which may be split over
  /// ids. Throws on an id that is not in the vocabulary.
  virtual std::string decode(std::span<const std::int32_t> ids) const = 0;

  /// Every id is below this.
  virtual std::int64_t vocab_size() const = 0;

  /// The id that ends a document in training data.
  virtual std::int32_t eod() const = 0;

  /// Equal for tokenizers that are defined alike, however their files are laid out.
  virtual std::string fingerprint() const = 0;
};

/// "byte", or the path of a Hugging Face tokenizer.json or of a folder that holds one.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path);

}  // namespace hg
