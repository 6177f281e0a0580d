// CPU bodies of ops/attention.h in bf16 on matrix tiles.
#include "ops/cpu/attention_tiles.h"

#include "ops/cpu/kernels/attention_backward.h"
#include "ops/cpu/kernels/attention_forward.h"
#include "ops/cpu/kernels/attention_tile_products.h"

namespace hg {
namespace {

void run_on(const AttentionForward& op, Context& ctx, auto products) {
  attention_forward<typename decltype(products)::type, bf16>(op, ctx);
}
void run_on(const AttentionBackward& op, Context& ctx, auto products) {
  attention_backward<typename decltype(products)::type, bf16>(op, ctx);
}

template <Isa isa, class Op>
void run_on(const Op& op, Context& ctx, TileUnit unit) {
  if (unit == TileUnit::emulated) {
    return run_on(op, ctx, std::type_identity<TileProducts<EmulatedTiles>>{});
  }
  if constexpr (isa == Isa::avx512)
    return run_on(op, ctx, std::type_identity<TileProducts<AmxTiles>>{});
  fail("AMX tiles come with AVX-512 only");
}

}  // namespace

template <>
void attention_on_tiles<kIsa>(const AttentionForward& op, Context& ctx, TileUnit unit) {
  run_on<kIsa>(op, ctx, unit);
}

template <>
void attention_on_tiles<kIsa>(const AttentionBackward& op, Context& ctx, TileUnit unit) {
  run_on<kIsa>(op, ctx, unit);
}

}  // namespace hg
