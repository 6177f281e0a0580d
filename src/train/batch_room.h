// Room on a GPU for the tokens of a batch, which the host packs.
#pragma once

#include "core/context.h"
#include "data/packer.h"

namespace hg {

/// As many documents as a batch of such lengths is given on a GPU, the last ones empty: how many
/// there are is an argument of kernels, and few numbers serve for few graphs. Whole windows stay as
/// they are, since attention knows them by their number; so do parts of what several ranks share.
std::int64_t padded_documents(const HostBatch& batch);

/// Where a rank computes on the processor, there is no room: batches are used where they are.
class BatchRoom {
 public:
  /// For batches of `tokens`; `parts` of what several ranks share have more. A meta run takes what
  /// the device needs that it plans for.
  BatchRoom(const Context& ctx, Arena& arena, std::int64_t tokens, bool parts);

  /// The batch, where the context computes; until the next call on a GPU, else as long as it lives.
  /// A GPU gets its padded documents, and at least so many.
  Batch put(const Context& ctx, const HostBatch& batch, std::int64_t documents = 0) const;

 private:
  Tensor ids_;  // [n] i32; absent on the processor
};

}  // namespace hg
