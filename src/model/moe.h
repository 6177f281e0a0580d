// A mixture of experts: each token goes through the K experts that its router chooses, and through
// the shared one if there is one. No expert's rows are padded and, without a capacity, no choice is
// dropped: R = T K rows in the order of experts, whoever gets how many.
#pragma once

#include <optional>
#include <string>

#include "model/router.h"
#include "model/shared_expert.h"

namespace hg {

/// y[t] = shared(x[t]) + sum over k of down_e(weight[t, k] swiglu(gate_up_e(x[t]))), e = the k-th
/// expert of t. The weight stands in front of the down projection, which is linear: so backward
/// needs no expert's output.
class Moe {
 public:
  struct Saved {
    Router::Saved route;
    Tensor input;    // [R, hidden]: the tokens, in the order of experts
    Tensor gate_up;  // [R, 2F]
    Tensor hidden;   // [R, F]
    SharedExpert::Saved shared;
  };

  Moe(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// x is [T, hidden], normalised. An absent y leaves out what backward does not need.
  void forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Tensor y,
               Saved& s, Keep keep, const LayerInstruments& look) const;
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor documents,
                ConstTensor dy, ConstTensor x, const Saved& s, Tensor dx) const;

  const Router& router() const { return router_; }

 private:
  std::int64_t f_;
  Router router_;
  ParamId gate_up_, down_;  // [E, 2F, hidden], [E, hidden, F]
  std::optional<SharedExpert> shared_;
};

}  // namespace hg
