// How ranks that share a micro-batch put together what each has seen of it: its own heads, and with
// shared sequences or the context axis its own tokens. Every rank of these axes must take part, in
// the same order, and all have the whole afterwards. A rank alone has it already.
#pragma once

#include "model/context_region.h"

namespace hg {

class InstrumentJoin {
 public:
  explicit InstrumentJoin(const Mesh& mesh)
      : context_(mesh), heads_(mesh.tensor), tokens_(mesh.sequence ? mesh.tensor : Group{}) {}

  /// Whether nobody else has a part.
  bool alone() const { return heads_.size == 1 && context_.alone(); }

  /// This rank's rows of a table of all heads, [KV G, N]: an op fills them, then all are gathered.
  Tensor own_heads(const Tensor& table) const;
  void gather_heads(Context& ctx, const Tensor& table) const;
  /// Before that: of the two columns of a table, what all queries make of them, not only this
  /// rank's.
  void reduce_queries(Context& ctx, const Tensor& table, std::array<Reduce, 2> columns) const;
  /// [T, A, B, C] of the whole micro-batch, in its order: x itself, or a copy in scratch.
  ConstTensor all_queries(Context& ctx, const ConstTensor& x) const;
  /// [T, KV, G, E] of all queries and heads from those of this rank: these themselves, or a copy in
  /// scratch, in which a head's tokens lie end to end.
  ConstTensor all_heads(Context& ctx, const ConstTensor& own) const;

  /// Magnitudes of a matrix of which this rank has x: the channels of its heads, or its tokens.
  void measure_heads(Context& ctx, Tensor out, ConstTensor x) const;
  void measure_tokens(Context& ctx, Tensor out, ConstTensor x) const;

  /// x = the sum or maximum over tokens, of which this rank has seen its own.
  void reduce_tokens(Context& ctx, const Tensor& x, Reduce reduce) const;

 private:
  /// Where the part of a rank begins in the whole matrix, rank by rank.
  struct Step {
    std::int64_t tokens, channels;
  };
  static void measure(Context& ctx, Tensor out, ConstTensor x, const Group& group, Step step);

  ContextRegion context_;  // who has other queries of the same micro-batch
  Group heads_;            // who has other heads
  Group tokens_;           // who has other tokens of this rank's
};

}  // namespace hg
