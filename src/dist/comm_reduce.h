// What communicators on host memory share: reductions in rank order, and where pieces lie.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "dist/comm.h"

namespace hg {

/// out[i] = ((inputs[0][i] + inputs[1][i]) + ...) or the maximum, for i < count. `out` may be one
/// of the inputs. bf16 is added in f32 and rounded once.
void reduce_in_order(Reduce reduce, DType dtype, std::span<const void* const> inputs, void* out,
                     std::int64_t count);

/// Where the r-th of n nearly equal pieces of `count` elements begins; r = n gives the end.
inline std::int64_t piece_begin(std::int64_t count, int r, int n) {
  return count / n * r + std::min<std::int64_t>(count % n, r);
}

/// memcpy, which may also be asked for nothing, or to where the bytes are.
inline void copy_bytes(void* to, const void* from, std::int64_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

/// Bytes of one row, a step along the first axis; also where there are no rows.
std::int64_t row_bytes(const ConstTensor& x);

}  // namespace hg
