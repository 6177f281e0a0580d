// Attention of a few new tokens over cached keys and values, for generation. Forward only.
#pragma once

#include "ops/op.h"

namespace hg {

/// The n queries belong to the last n of the P cached positions; each sees the positions up to its
/// own. With a sink, one more logit without a value takes part in each softmax (ops/sink.h).
struct CachedAttention {
  static constexpr std::string_view name = "cached_attention";
  Tensor o;          // [n, KV, G, D] contiguous
  ConstTensor q;     // [n, KV, G, D] contiguous
  ConstTensor k, v;  // [P, KV, 1, D] contiguous
  float scale;
  bool sink = false;
  ConstTensor sinks = {};  // [KV, G]; absent: all 0

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// One row of probabilities for each query head of each token, [n, KV, G, P] f32; on a GPU, sums
  /// over pieces of the cache, [pieces, n KV G, D + 2] f32.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kRowPieces = 1024;  ///< query heads times pieces, at most, ...
  static constexpr std::int64_t kLeastKeys = 128;   ///< ... as far as pieces have so many keys
};

/// y = x, where both may be slices of wider rows.
struct CopyRows {
  static constexpr std::string_view name = "copy_rows";
  Tensor y;       // [T, A, B, D]: only D is contiguous
  ConstTensor x;  // likewise

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
