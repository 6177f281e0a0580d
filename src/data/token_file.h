// Reads token data: a memory-mapped Megatron pair PREFIX.bin, PREFIX.idx. See data/token_format.h.
#pragma once

#include <cstdint>
#include <string>

#include "core/file.h"
#include "data/token_format.h"

namespace hg {

/// The tokens of a corpus as one stream, and where its documents begin. Safe to read from several
/// threads. Opening validates both files; they must not change while this lives.
class TokenFile {
 public:
  /// Which ids opening compares with the vocabulary: all, which reads a terabyte where there is
  /// one; or, enough to know another tokenizer's, those of 256 blocks spread over the file. An id
  /// that is too large is refused in any case where it is copied.
  enum class IdCheck { all, some, none };

  TokenFile(std::string prefix, std::int64_t vocab_size, IdCheck check = IdCheck::all);

  std::int64_t tokens() const { return tokens_; }
  std::int64_t documents() const { return documents_; }
  const std::string& prefix() const { return prefix_; }

  /// The first token of a document in [0, documents()]; the last bound is tokens().
  std::int64_t document_begin(std::int64_t document) const;
  /// The document that holds a token.
  std::int64_t document_of(std::int64_t token) const;
  /// Copies tokens [begin, begin + count).
  void copy(std::int64_t begin, std::int64_t count, std::int32_t* out) const;

  /// Identifies the data wherever they lie: XXH3 of the whole .idx, the size of .bin and 256 blocks
  /// spread over it. Reading a terabyte at each resume would take minutes, and another corpus
  /// hardly has the same lengths of documents throughout.
  std::uint64_t fingerprint() const;

 private:
  void read_header();
  void check_sequences() const;
  void check_documents() const;
  /// Of tokens [begin, end).
  void check_ids(std::int64_t begin, std::int64_t end) const;
  std::string index_name() const { return prefix_ + ".idx"; }
  std::string data_name() const { return prefix_ + ".bin"; }

  std::string prefix_;
  std::int64_t vocab_size_;
  MappedFile index_, data_;
  token_format::Type type_{};
  std::int64_t element_bytes_ = 0, sequences_ = 0, documents_ = 0, tokens_ = 0;
  const std::byte *lengths_ = nullptr, *offsets_ = nullptr, *bounds_ = nullptr;  // into index_
};

}  // namespace hg
