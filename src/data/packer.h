// Puts windows of tokens end to end into the memory of one micro-batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/batch.h"
#include "data/sampler.h"
#include "data/token_file.h"

namespace hg {

/// The memory behind a Batch. Made for a number of tokens, it never allocates again.
struct HostBatch {
  explicit HostBatch(std::int64_t capacity);

  std::vector<std::int32_t> tokens, targets, positions, documents;  // as in Batch
  std::vector<std::int32_t> keys;  // likewise; empty unless it is a part (data/context_part.h)
  std::int64_t longest = 0;        // likewise: of the windows
  Batch view() const;
};

/// Fills `batch` with the windows in order. A document begins wherever one begins in the file and
/// at the start of each window; positions restart there. The target of a token is the next one of
/// the same document, even where that lies behind the window; there is none (-1) across documents.
void pack(const TokenFile& file, std::span<const Window> windows, HostBatch& batch);

}  // namespace hg
