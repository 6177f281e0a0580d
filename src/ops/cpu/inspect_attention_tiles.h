// The entropy of attention in bf16 on matrix tiles, see attention_tiles.h.
#pragma once

#include "ops/cpu/attention_tiles.h"
#include "ops/inspect_attention.h"

namespace hg {

template <Isa isa>
void attention_on_tiles(const AttentionEntropy& op, Context& ctx, TileUnit unit);

}  // namespace hg
