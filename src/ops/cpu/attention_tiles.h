// Attention in bf16 on 16 x 16 matrix tiles: where AMX is, and as an emulation of it for tests.
#pragma once

#include "ops/attention.h"

namespace hg {

/// Who multiplies tiles: the processor, or plain C++ that follows the definition of its
/// instructions.
enum class TileUnit { amx, emulated };

/// Whether tiles can hold an op of this element type and head size.
inline bool fits_tiles(DType dtype, std::int64_t d) { return dtype == DType::bf16 && d % 32 == 0; }

/// The op's CPU body on tiles. TileUnit::amx needs a processor with AMX-BF16 and isa ==
/// Isa::avx512.
template <Isa isa>
void attention_on_tiles(const AttentionForward& op, Context& ctx, TileUnit unit);
template <Isa isa>
void attention_on_tiles(const AttentionBackward& op, Context& ctx, TileUnit unit);

}  // namespace hg
