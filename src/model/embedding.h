// The beginning of the model: a row of the embedding for each token. Ranks of the tensor axis share
// the vocabulary.
#pragma once

#include "dist/param_store.h"
#include "model/config.h"
#include "model/tensor_region.h"

namespace hg {

class Embedding {
 public:
  /// Declares the weight, [V, hidden], in a unit of its own. The head uses it, too, if the two are
  /// tied; then the first and the last pipeline stage both have it.
  Embedding(ParamStore& store, const ModelConfig& config);

  /// x, [T, hidden], from tokens, [T].
  void forward(Context& ctx, const Weights& w, ConstTensor tokens, Tensor x) const;
  /// `accumulate`: the weight's gradient holds something, such as a tied head's part.
  void backward(Context& ctx, const Gradients& g, ConstTensor tokens, ConstTensor dx,
                bool accumulate) const;

  UnitId unit() const { return unit_; }
  ParamId weight() const { return weight_; }

 private:
  UnitId unit_;
  TensorRegion region_;
  std::int64_t vocab_, first_;  // of all ranks; the first row that is this rank's
  ParamId weight_;
};

}  // namespace hg
