// Causal grouped-query attention over packed documents, in blocks with an online softmax (Dao et
// al., FlashAttention-2, 2023): the T x T matrix never exists; the logsumexp of each row is kept.
#pragma once

#include "ops/op.h"

namespace hg {

/// For query t of head (j, g) in its document, over keys s <= t of the same document:
///   o[t, j, g] = sum_s softmax_s(scale q[t, j, g] . k[s, j]) v[s, j]
///   lse[j, g, t] = log sum_s exp(scale q . k[s])
struct AttentionForward {
  static constexpr std::string_view name = "attention_forward";
  Tensor o;               // [T, KV, G, D] contiguous
  Tensor lse;             // [KV, G, T] f32
  ConstTensor q, k;       // [T, KV, G, D] and [T, KV, 1, D], contiguous
  ConstTensor v;          // [T, KV, 1, D], a slice of the fused projection: only D is contiguous
  ConstTensor documents;  // [N + 1] i32, see Batch
  std::int64_t longest;   // no document has more tokens
  float scale;            // positive

  void check() const;
  Cost cost() const;  ///< of documents of the longest length: an upper bound
  void cpu(Context& ctx) const;

  struct Scratch {
    Tensor blocks;  // of one task, [workers, bytes / 4] f32
    Tensor k, v;    // packed by head, [KV, T, D rounded up] f32 or less, and some rows behind
  };
  Scratch scratch(Context& ctx) const;
};

/// With P = exp(scale q k^T - lse) and delta = rowsum(do o):
///   dv = P^T do,  dS = P (do v^T - delta),  dq = scale dS k,  dk = scale dS^T q;
/// dk and dv are summed over the G query heads of a group in order.
struct AttentionBackward {
  static constexpr std::string_view name = "attention_backward";
  Tensor dq, dk;             // like q and k
  Tensor dv;                 // [T, KV, 1, D], strided like v
  ConstTensor d_o, q, k, v;  // d_o like o
  ConstTensor o, lse;        // from forward
  ConstTensor documents;     // [N + 1] i32
  std::int64_t longest;      // no document has more tokens
  float scale;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;

  struct Scratch {
    Tensor blocks;  // as in forward
    Tensor k, v;    // as in forward
    Tensor dk, dv;  // sums, like the packed k and v, f32
    Tensor order;   // documents, longest first, [T] i32
  };
  Scratch scratch(Context& ctx) const;
};

}  // namespace hg
