// Where attention looks: at the first token, as a sink does, or spread over many; and, of a short
// text, all of it. Forward only.
#pragma once

#include "ops/op.h"

namespace hg {

/// The share of each query's attention that goes to the first token of its document:
///   exp(scale q[t, j, g] . k[first, j] - lse[j, g, t]).
/// NaN, if a query, a first key or an lse that counts holds one. Slices are those of
/// AttentionForward; where they have some of the queries only, so have the sums in the means.
struct FirstTokenShare {
  static constexpr std::string_view name = "first_token_share";
  static constexpr std::int64_t kEarly = 64;  ///< tokens that have few others to look at

  Tensor out;        // [KV G, 2] f32: means over all S tokens; over those at positions >= kEarly,
                     // NaN if there are none
  ConstTensor q, k;  // [T, KV, G, D] and [S, KV, 1, D]: only D is contiguous
  ConstTensor lse;   // [KV, G, T] f32, of AttentionForward
  ConstTensor documents;  // [N + 1] i32, see Batch
  ConstTensor keys = {};  // [N, 2] i32, likewise
  ConstTensor positions;  // [S] i32
  float scale;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Sums over pieces of the tokens, [pieces, KV G, 2] f32; on a GPU, by token: [KV G, T, 2].
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kTokensPerPiece = 64;
};

/// How widely each query looks: the entropy -sum_s p_s ln p_s of its attention
///   p_s = exp(scale q[t, j, g] . k[s, j] - lse[j, g, t])
/// over the keys it sees, in nats; and the largest score. Both are NaN for a head with a score or
/// lse that is NaN, or a score that is +infinity.
struct AttentionEntropy {
  static constexpr std::string_view name = "attention_entropy";

  Tensor out;             // [KV G, 2] f32: sum over queries / S; largest scale q . k
  ConstTensor q, k;       // [T, KV, G, D] and [S, KV, 1, D]: only D is contiguous
  ConstTensor lse;        // [KV, G, T] f32, of AttentionForward
  ConstTensor documents;  // [N + 1] i32, see Batch
  ConstTensor keys = {};  // [N, 2] i32, likewise
  std::int64_t longest;   // no document has more tokens
  float scale;            // positive

  void check() const;
  Cost cost() const;  ///< of documents of the longest length: an upper bound
  void cpu(Context& ctx) const;

  struct Scratch {
    Tensor blocks;    // of one task, [workers, bytes / 4] f32
    Tensor partials;  // by head and block of tokens, [KV G, pieces, 2] f32; on a GPU, this
                      // alone, by token: [KV G, T, 2]
  };
  Scratch scratch(Context& ctx) const;
  static constexpr std::int64_t kSmallestBlock = 64;  // of any kernel
};

/// All of attention, for texts short enough to look at, in whole documents:
///   out[j G + g, t, s] = exp(scale q[t, j, g] . k[s, j] - lse[j, g, t])
/// for keys s <= t of the query's document, and 0 for all others. A row sums to 1, or to what a
/// sink in lse has left of it.
struct AttentionMap {
  static constexpr std::string_view name = "attention_map";

  Tensor out;             // [KV G, T, T] f32: head, query, key
  ConstTensor q, k;       // [T, KV, G, D] and [T, KV, 1, D]: only D is contiguous
  ConstTensor lse;        // [KV, G, T] f32, of AttentionForward and perhaps SinkForward
  ConstTensor documents;  // [N + 1] i32, see Batch
  float scale;

  void check() const;
  Cost cost() const;  ///< of one document: an upper bound
  void cpu(Context& ctx) const;
};

}  // namespace hg
