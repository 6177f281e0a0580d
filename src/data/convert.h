// Reads the flat shards of other frameworks into token data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>

#include "data/token_format.h"
#include "data/token_writer.h"

namespace hg {

/// How to read shards, which hold ids end to end and do not say where documents are.
struct FlatShards {
  enum class Mark {
    none,    ///< each shard is one document
    begins,  ///< each document begins with the id `mark_id`, as llm.c writes them
    ends,    ///< each document ends with it
  };

  /// Element type of shards without a header (nanoGPT: u16). If not set, each begins with
  /// a header, of
  ///   llm.c: 256 i32: 20240520, 1, tokens; u16 ids. For Llama 3: 20240801, 7, tokens; u32 ids.
  ///   LLMQ: "BIN.TOK\n", then i32: 2, 4, tokens, vocabulary, masks; i32 ids from byte 1024.
  std::optional<token_format::Type> headerless = std::nullopt;
  Mark mark = Mark::none;
  std::int32_t mark_id = 0;
};

/// Adds the documents of `shards` in order to `out`, marks included. A marked document may go on in
/// the next shard. Throws on a header or size that is wrong, on an id outside out's vocabulary, and
/// on loss masks, which token data cannot hold.
void convert(std::span<const std::filesystem::path> shards, const FlatShards& format,
             TokenWriter& out);

}  // namespace hg
