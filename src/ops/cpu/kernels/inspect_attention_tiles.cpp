// The entropy of attention in bf16 on matrix tiles.
#include "ops/cpu/inspect_attention_tiles.h"

#include "ops/cpu/kernels/attention_tile_products.h"
#include "ops/cpu/kernels/inspect_attention.h"

namespace hg {

template <>
void attention_on_tiles<kIsa>(const AttentionEntropy& op, Context& ctx, TileUnit unit) {
  if (unit == TileUnit::emulated) {
    return attention_entropy<TileProducts<EmulatedTiles>, bf16>(op, ctx);
  }
  if constexpr (kIsa == Isa::avx512) {
    return attention_entropy<TileProducts<AmxTiles>, bf16>(op, ctx);
  }
  fail("AMX tiles come with AVX-512 only");
}

}  // namespace hg
