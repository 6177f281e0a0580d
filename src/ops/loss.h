// Cross-entropy of the next token, with the auxiliary z-loss of PaLM (Chowdhery et al., 2022,
// section 5), over a chunk of tokens. Gradients replace the logits in place, so that logits exist
// once.
#pragma once

#include "ops/op.h"

namespace hg {

/// For each row t with targets[t] >= 0, with z = logsumexp(logits[t]):
///   loss[t] = z - logits[t, target],   lse[t] = z;
///   if backward, logits[t, v] = scale (softmax(logits[t])[v] (1 + 2 z_loss z) - [v = target]),
/// the gradient of scale * (loss + z_loss z^2). Other rows: loss, lse and gradient 0. A target of V
/// or more is an error; a logit of NaN or +infinity makes its row's loss NaN.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  Tensor logits;        // [T, V]: read, then overwritten if backward
  Tensor loss, lse;     // [T] f32
  ConstTensor targets;  // [T] i32, below V
  float z_loss, scale;
  bool backward;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
