// Writes token data as a Megatron pair PREFIX.bin, PREFIX.idx. See data/token_format.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/token_format.h"

namespace hg {

/// Documents in the order they are added, one sequence each; what one takes in memory is 4 bytes.
/// The pair appears under its name with `finish`, .idx last; without it, nothing is left behind.
class TokenWriter {
 public:
  /// Refuses to replace token data: a PREFIX.idx that exists is an error.
  TokenWriter(std::string prefix, std::int64_t vocab_size);

  /// Appends a document of at most 2^31 - 1 ids, each below the vocabulary's size. It may be empty.
  void add_document(std::span<const std::int32_t> ids);
  void finish();

  std::int64_t vocab_size() const { return vocab_size_; }
  std::int64_t documents() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::int64_t tokens() const { return tokens_; }

 private:
  void write_index(AtomicFile& index) const;
  std::string index_name() const { return prefix_ + ".idx"; }
  std::string data_name() const { return prefix_ + ".bin"; }

  std::string prefix_;
  std::int64_t vocab_size_;
  token_format::Type type_;
  AtomicFile data_;
  std::vector<std::int32_t> lengths_;
  std::vector<std::uint16_t> narrow_;  // one document's ids
  std::int64_t tokens_ = 0;
};

}  // namespace hg
