// The token embedding: a row look-up, and its transpose.
#pragma once

#include "ops/op.h"

namespace hg {

/// y[t] = weight[tokens[t]].
struct EmbeddingForward {
  static constexpr std::string_view name = "embedding_forward";
  Tensor y;            // [T, D]
  ConstTensor tokens;  // [T] i32, below V
  ConstTensor weight;  // [V, D]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dweight[v] (+)= sum of dy[t] over the t with tokens[t] = v, in the order of t.
struct EmbeddingBackward {
  static constexpr std::string_view name = "embedding_backward";
  Tensor dweight;      // [V, D] f32
  ConstTensor dy;      // [T, D]
  ConstTensor tokens;  // [T] i32
  bool accumulate;     // dweight; otherwise it is zeroed first

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
