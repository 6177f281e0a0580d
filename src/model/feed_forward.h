// The second branch of a block: one dense MLP, or a mixture of experts.
#pragma once

#include <string>
#include <variant>

#include "model/moe.h"
#include "model/tensor_region.h"

namespace hg {

class FeedForward {
 public:
  struct Saved {   // of the one that there is
    Tensor input;  // of the MLP: all tokens, where ranks share them
    Mlp::Saved mlp;
    Moe::Saved moe;
  };

  FeedForward(ParamStore& store, const ModelConfig& config, std::int64_t layer,
              const std::string& prefix);

  /// x is [T, hidden], normalised; documents as in Batch. An absent y leaves out what backward does
  /// not need.
  void forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Tensor y,
               Saved& s, Keep keep, const LayerInstruments& look) const;
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor documents,
                ConstTensor dy, ConstTensor x, const Saved& s, Tensor dx) const;

  /// Around the micro-batches of a step; see Router.
  void begin_step(Context& ctx, const Weights& w) const;
  void end_step(Context& ctx, const Weights& w) const;

 private:
  TensorRegion region_;  // that an MLP stands in; experts take tokens as they are
  std::variant<Mlp, Moe> layer_;
};

}  // namespace hg
