// SwiGLU feed-forward: down(silu(gate(x)) * up(x)), with gate and up in one product.
#pragma once

#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/keep.h"

namespace hg {

class Mlp {
 public:
  struct Saved {
    Tensor gate_up;  // [T, 2F]
    Tensor hidden;   // [T, F]
  };

  /// A whole one of `width`, or this rank's part of one, of that width; parameters count as `kind`.
  enum class Share { whole, part };
  Mlp(ParamStore& store, const ModelConfig& config, std::int64_t width, Share share,
      const std::string& kind, const std::string& prefix);

  /// y = mlp(x); x is [T, hidden], normalised. An absent y leaves out the down projection.
  void forward(Context& ctx, const Weights& w, ConstTensor x, Tensor y, Saved& s, Keep keep) const;
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dy, ConstTensor x,
                const Saved& s, Tensor dx) const;

 private:
  std::int64_t f_;
  ParamId gate_up_, down_;
};

}  // namespace hg
