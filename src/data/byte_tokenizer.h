// The tokenizer without a vocabulary: an id for each byte.
#pragma once

#include "data/tokenizer.h"

namespace hg {

/// Ids 0 to 255 are the bytes, any bytes; 256 ends a document and decodes to nothing.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr std::int32_t kEod = 256;

  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;
  std::int64_t vocab_size() const override { return kEod + 1; }
  std::int32_t eod() const override { return kEod; }
  std::string fingerprint() const override { return "byte"; }
};

}  // namespace hg
