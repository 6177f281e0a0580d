// What stands between a branch's output projection and the residual stream in comparison arms:
// nothing as a rule; a norm of its own, a clip, or one behind the other.
#pragma once

#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/keep.h"

namespace hg {

/// delta = clip(RMSNorm(projected)), either part optional. The norm is the second slice of a
/// "sandwich norm" (arXiv 2505.06708, table 2, row 7), the clip that of appendix A.6.
class BranchOutput {
 public:
  struct Saved {
    Tensor projected;     // [T, hidden]: what the branch writes, if anything stands here
    Tensor normed, rstd;  // [T, hidden], only if it is clipped as well; [T] f32
  };

  /// Declares the norm's weight in the store's current unit, if there is one.
  BranchOutput(ParamStore& store, const ModelConfig& config, const std::string& name);

  /// Where the branch of input x is to write: `delta` itself, which may be absent, if nothing
  /// stands here; else a tensor of its own, absent if it has been kept.
  Tensor place(Context& ctx, ConstTensor x, Tensor delta, Saved& s, Keep keep) const;
  /// Makes `delta`, [T, hidden], from what the branch wrote. Where delta is absent, makes what
  /// backward needs.
  void forward(Context& ctx, const Weights& w, Tensor delta, Saved& s, Keep keep) const;
  /// The gradient of what the branch wrote, from that of delta: d itself if nothing stands here,
  /// else in scratch, which the caller releases.
  ConstTensor backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor d,
                       const Saved& s) const;

 private:
  bool transparent() const { return !norm_ && clip_ == 0; }

  bool norm_;
  float eps_, clip_;
  ParamId weight_ = -1;
};

}  // namespace hg
