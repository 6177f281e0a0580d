// GatedNorm (Qiu et al., arXiv 2601.22966): a low-rank gate behind a norm of the residual stream.
#pragma once

#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/keep.h"

namespace hg {

/// [T, C] as the gate op takes it: one head a token.
template <class AnyTensor>
AnyTensor as_heads(const AnyTensor& x) {
  return x.split(1, 1, x.dim(1)).split(1, 1, 1);
}

/// y = x * sigmoid(W_up silu(W_down x)), with W_down [r, hidden] and W_up [hidden, r]. Scores start
/// near 1/2: initial logits are small.
class NormGate {
 public:
  struct Saved {
    Tensor down, hidden;  // [T, r], before and behind silu
    Tensor logits, y;     // [T, hidden]
  };

  /// Declares both weights in the store's current unit.
  NormGate(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// Makes s.y from x, [T, hidden].
  void forward(Context& ctx, const Weights& w, ConstTensor x, Saved& s, Keep keep) const;
  /// dx from dy, and the weights' gradients. dx is not dy.
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dy, ConstTensor x,
                const Saved& s, Tensor dx) const;

 private:
  std::int64_t rank_;
  ParamId down_, up_;
};

}  // namespace hg
