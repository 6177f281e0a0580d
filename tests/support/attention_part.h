// Some of the queries of an attention to test, as one of the ranks that share them has them.
#pragma once

#include "support/attention.h"

namespace hg::test {

/// Tokens [begin, end).
struct TokenRun {
  std::int64_t begin, end;
};

/// The queries of some runs of tokens, in order, over the keys of all.
struct AttentionPart {
  Attention& whole;
  std::vector<TokenRun> runs;
  Tensors memory;
  Tensor documents, keys, q, o, lse, d_o, dq, dk, dv;

  AttentionPart(Attention& a, const std::vector<TokenRun>& which) : whole(a), runs(which) {
    std::vector<std::int32_t> bounds{0}, seen;
    const auto* from = a.documents.as<std::int32_t>();
    for (const TokenRun& run : runs) {
      for (std::int64_t i = 0; i + 1 < a.documents.dim(0); ++i) {
        const std::int64_t begin = std::max<std::int64_t>(from[i], run.begin);
        const std::int64_t end = std::min<std::int64_t>(from[i + 1], run.end);
        if (begin >= end) continue;
        bounds.push_back(bounds.back() + static_cast<std::int32_t>(end - begin));
        seen.insert(seen.end(), {from[i], static_cast<std::int32_t>(end)});
      }
    }
    documents = memory.integers(bounds);
    keys = memory.integers(seen).view({std::ssize(seen) / 2, 2});
    const auto [kv, g, d] = a.dims;
    const DType dtype = a.q.dtype();
    q = rows_of(a.q), d_o = rows_of(a.d_o);
    o = memory.empty(q.shape(), dtype), dq = memory.empty(q.shape(), dtype);
    lse = memory.empty({kv, g, q.dim(0)});
    // Keys and values travel as one, and so do their gradients.
    const Tensor both = memory.empty({a.t, 2 * kv, 1, d}, dtype);
    dk = both.slice(1, 0, kv), dv = both.slice(1, kv, 2 * kv);
  }

  /// This part's rows of [T, ...].
  Tensor rows_of(const Tensor& all) {
    std::int64_t count = 0, to = 0;
    for (const TokenRun& run : runs) count += run.end - run.begin;
    const Tensor rows = memory.empty(all.shape().with(0, count), all.dtype());
    const std::int64_t width = all.numel() / all.dim(0);
    for (const TokenRun& run : runs) {
      for (std::int64_t i = run.begin * width; i < run.end * width; ++i)
        set(rows, to++, get(all, i));
    }
    return rows;
  }
  /// ... of [KV, G, T].
  Tensor columns_of(const Tensor& all) {
    const Tensor columns = memory.empty(lse.shape());
    std::int64_t to = 0;
    for (std::int64_t head = 0; head < all.dim(0) * all.dim(1); ++head) {
      for (const TokenRun& run : runs) {
        for (std::int64_t t = run.begin; t < run.end; ++t)
          set(columns, to++, get(all, head * all.dim(2) + t));
      }
    }
    return columns;
  }

  AttentionForward forward_op() const {
    AttentionForward op = whole.forward_op();
    op.o = o, op.lse = lse, op.q = q, op.documents = documents, op.keys = keys;
    return op;
  }
  AttentionBackward backward_op() const {
    AttentionBackward op = whole.backward_op();
    op.dq = dq, op.dk = dk, op.dv = dv, op.d_o = d_o, op.q = q, op.o = o, op.lse = lse;
    op.documents = documents, op.keys = keys;
    return op;
  }
  void run() {
    whole.run_op(forward_op());
    whole.run_op(backward_op());
  }
};

/// Each of n parts has the r-th of 2 n runs between `bounds`, and the one that is as far from the
/// end.
inline std::vector<std::vector<TokenRun>> from_both_ends(const std::vector<std::int64_t>& bounds) {
  const std::size_t runs = bounds.size() - 1;
  std::vector<std::vector<TokenRun>> parts;
  for (std::size_t r = 0; r < runs / 2; ++r)
    parts.push_back({{bounds[r], bounds[r + 1]}, {bounds[runs - 1 - r], bounds[runs - r]}});
  return parts;
}

}  // namespace hg::test
