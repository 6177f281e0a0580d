// Room on a GPU for the tokens of a batch, which the host packs.
#pragma once

#include "core/context.h"
#include "data/packer.h"

namespace hg {

/// Where a rank computes on the processor, there is no room: batches are used where they are.
class BatchRoom {
 public:
  /// For batches of `tokens`; `parts` of what several ranks share have more. A meta run takes what
  /// the device needs that it plans for.
  BatchRoom(const Context& ctx, Arena& arena, std::int64_t tokens, bool parts);

  /// The batch, where the context computes; until the next call on a GPU, else as long as it lives.
  Batch put(const Context& ctx, const HostBatch& batch) const;

 private:
  Tensor ids_;  // [n] i32; absent on the processor
};

}  // namespace hg
