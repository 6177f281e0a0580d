// A mixture of experts: each token goes through the K experts that its router chooses, and through
// the shared one if there is one. No expert's rows are padded and, without a capacity, no choice is
// dropped: R = T K rows in the order of experts, whoever gets how many.
// With expert parallelism rows go to the rank that has their expert, and back.
#pragma once

#include <optional>
#include <string>

#include "model/expert_exchange.h"
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
    ExpertExchange::Saved exchange;
    // At the experts of this rank, in their order: A = R without expert parallelism.
    Tensor weights;  // [A, 1] f32
    Tensor input;    // [A, hidden]
    Tensor gate_up;  // [A, 2F]
    Tensor hidden;   // [A, F]
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
  /// Routes, and brings tokens to their experts: everything in front of the first product.
  void take_in(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Saved& s,
               Keep keep, const LayerInstruments& look) const;
  /// Room for the rows of x's tokens, [R, hidden].
  static Tensor make_own(Context& ctx, ConstTensor x, const Router::Saved& route);

  MoeConfig config_;
  std::int64_t f_;
  Router router_;
  ExpertExchange exchange_;
  ParamId gate_up_, down_;  // of this rank's E experts: [E, 2F, hidden], [E, hidden, F]
  std::optional<SharedExpert> shared_;
};

}  // namespace hg
