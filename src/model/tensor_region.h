// Where tensor parallelism enters a branch, and where it leaves it. Between the two, each rank of
// the tensor axis computes with its part of the heads, of the width or of the vocabulary; outside,
// all have the same tokens or, with shared sequences, each its part of them (Megatron-LM, arXiv
// 1909.08053 and 2205.05198). With one rank nothing happens.
//
//              forward: enter        leave                  backward: leave     enter
//   same tokens         -            sum over ranks                   -         sum over ranks
//   shared sequences    all-gather   reduce-scatter                   gather    reduce-scatter
#pragma once

#include "dist/collectives.h"
#include "model/keep.h"

namespace hg {

class TensorRegion {
 public:
  explicit TensorRegion(const Mesh& mesh) : group_(mesh.tensor), sequence_(mesh.sequence) {}

  /// All tokens, [T, C], of x, this rank's; `all` is where they are kept if they are not x itself.
  ConstTensor enter(Context& ctx, ConstTensor x, Tensor& all, Keep keep) const;
  /// What enter returned, for backward.
  ConstTensor entered(ConstTensor x, const Tensor& all) const {
    return sequence_ ? ConstTensor(all) : x;
  }
  /// Where the branch writes its part of all tokens' sum: y itself, or scratch; absent if y is.
  Tensor room(Context& ctx, Tensor y) const;
  /// y = the sum over ranks of `part`, which is what room returned.
  void leave(Context& ctx, Tensor part, Tensor y) const;

  /// The gradient of `part` from that of y.
  ConstTensor backward_of_leave(Context& ctx, ConstTensor dy) const;
  /// The gradient of x, from dall: room(dx), in which each rank has its part of the sum.
  void backward_of_enter(Context& ctx, Tensor dall, Tensor dx) const { leave(ctx, dall, dx); }

 private:
  Group group_;
  bool sequence_;
};

}  // namespace hg
