// The expert that every token goes through, beside those that it is routed to.
#pragma once

#include <optional>
#include <string>

#include "model/mlp.h"

namespace hg {

/// y = mlp(x), or sigmoid(x . w) mlp(x) with a score for each token (Qwen3-Next).
class SharedExpert {
 public:
  struct Saved {
    Mlp::Saved mlp;
    Tensor output;  // [T, hidden]: of the MLP, with a gate
    Tensor logits;  // [T, 1]: of the gate
  };

  SharedExpert(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// x is [T, hidden], normalised. An absent y leaves out what backward does not need.
  void forward(Context& ctx, const Weights& w, ConstTensor x, Tensor y, Saved& s, Keep keep) const;
  /// Adds to dx.
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dy, ConstTensor x,
                const Saved& s, Tensor dx) const;

 private:
  Mlp mlp_;
  std::optional<ParamId> gate_;
};

}  // namespace hg
