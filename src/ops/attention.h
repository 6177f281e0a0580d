// Causal grouped-query attention over packed documents, in blocks with an online softmax (Dao et
// al., FlashAttention-2, 2023): the T x T matrix never exists; the logsumexp of each row is kept.
#pragma once

#include "ops/op.h"

namespace hg {

/// For query t of head (j, g), over the keys s that it sees:
///   o[t, j, g] = sum_s softmax_s(scale q[t, j, g] . k[s, j]) v[s, j]
///   lse[j, g, t] = log sum_s exp(scale q . k[s])
/// Queries come in slices of documents: slice n is the queries from documents[n] on, and before
/// documents[n + 1]. Its last query sees the keys from keys[n, 0] on, and before keys[n, 1]; each
/// one before sees one key less. Slices of the same document follow each other and begin with the
/// same key; other documents have their keys behind. Without `keys`, S = T and a slice is a whole
/// document, whose keys are of the same tokens.
struct AttentionForward {
  static constexpr std::string_view name = "attention_forward";
  Tensor o;               // [T, KV, G, D] contiguous
  Tensor lse;             // [KV, G, T] f32
  ConstTensor q;          // [T, KV, G, D] contiguous
  ConstTensor k, v;       // [S, KV, 1, D], may be slices of wider rows: only D is contiguous
  ConstTensor documents;  // [N + 1] i32, see Batch
  ConstTensor keys = {};  // [N, 2] i32
  std::int64_t longest;   // no document has more tokens
  float scale;            // positive

  void check() const;
  Cost cost() const;  ///< of documents of the longest length: an upper bound
  void cpu(Context& ctx) const;

  struct Scratch {
    Tensor blocks;   // of one task, [workers, bytes / 4] f32
    Tensor k, v;     // packed by head, [KV, S, D rounded up] f32 or less, and some rows behind
    Tensor library;  // on a GPU, alone: room for cuDNN, [bytes / 4] f32
  };
  Scratch scratch(Context& ctx) const;
};

/// With P = exp(scale q k^T - lse) and delta = rowsum(do o):
///   dv = P^T do,  dS = P (do v^T - delta),  dq = scale dS k,  dk = scale dS^T q;
/// dk and dv are summed over the G query heads of a group in order, and zero for keys that no query
/// sees.
struct AttentionBackward {
  static constexpr std::string_view name = "attention_backward";
  Tensor dq;                 // like q
  Tensor dk, dv;             // [S, KV, 1, D]: only D is contiguous
  ConstTensor d_o, q, k, v;  // d_o like o
  ConstTensor o, lse;        // from forward
  ConstTensor documents;     // as in forward
  ConstTensor keys = {};     // likewise
  std::int64_t longest;      // no document has more tokens
  float scale;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;

  struct Scratch {
    Tensor blocks;   // as in forward
    Tensor k, v;     // as in forward
    Tensor dk, dv;   // sums, like the packed k and v, f32
    Tensor order;    // documents, the costliest first, [T, 2] i32
    Tensor rows;     // on a GPU, alone: what a query sees, its lse and delta, [KV, T G, 4] f32
    Tensor library;  // as in forward
  };
  Scratch scratch(Context& ctx) const;
};

/// Throws unless `documents` and `keys`, which may be absent, have the shapes of one list of
/// slices.
void check_slices(std::string_view op, const ConstTensor& documents, const ConstTensor& keys);

}  // namespace hg
