// Where context parallelism enters attention. Ranks of the context axis have other tokens of the
// same micro-batch: a piece from its front, and one as far from its end (data/context_part.h). Each
// has the queries of its own, and gathers the keys and values of all, which lie in the order of the
// micro-batch; behind attention's backward their gradients are summed over ranks. Pieces from the
// end come from the ranks counted backwards, so that nothing has to be put in order. With one rank
// nothing happens.
#pragma once

#include <array>

#include "dist/collectives.h"
#include "model/keep.h"

namespace hg {

/// Both [T, KV, 1, D].
template <class AnyTensor>
struct KeysAndValues {
  AnyTensor k, v;
};

class ContextRegion {
 public:
  explicit ContextRegion(const Mesh& mesh) : ranks_{mesh.context, mesh.context_back} {}

  bool alone() const { return ranks_[0].size == 1; }
  std::int64_t size() const { return ranks_[0].size; }

  /// The rows of this rank's two pieces in a tensor of all tokens.
  std::array<Tensor, 2> own(const Tensor& all) const;
  /// Each rank has filled its own rows: now all have all.
  void gather(Context& ctx, const Tensor& all, std::string_view label) const;
  /// A rank's own rows = their sum over ranks.
  void sum(Context& ctx, const Tensor& all, std::string_view label) const;
  /// x = the sum or maximum of every rank's x.
  void reduce(Context& ctx, const Tensor& x, Reduce reduce, std::string_view label) const;
  /// All tokens' rows, [S, A, B, C], from this rank's: a copy in `all`.
  void gather_copy(Context& ctx, const Tensor& all, const ConstTensor& own_rows,
                   std::string_view label) const;

  /// What attention takes of all tokens; `all` is where it is kept if it is not this rank's alone.
  KeysAndValues<ConstTensor> enter(Context& ctx, KeysAndValues<ConstTensor> own, Tensor& all,
                                   Keep keep) const;
  /// What enter returned, for backward.
  KeysAndValues<ConstTensor> entered(KeysAndValues<ConstTensor> own, const Tensor& all) const;
  /// Where backward writes the gradients of all: d_own itself, or scratch.
  KeysAndValues<Tensor> room(Context& ctx, KeysAndValues<Tensor> d_own) const;
  /// The gradients of this rank's keys and values, from what room returned.
  void backward_of_enter(Context& ctx, KeysAndValues<Tensor> d_all,
                         KeysAndValues<Tensor> d_own) const;

 private:
  std::array<Group, 2> ranks_;  // in order, and counted backwards
};

}  // namespace hg
