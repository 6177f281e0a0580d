// The gate: equation 5 of "Gated Attention for Large Language Models" (arXiv 2505.06708) and its
// variants, on heads or on whole rows.
#pragma once

#include "ops/op.h"

namespace hg {

/// s(z): the logistic function; z times it; 1/2 + 1/2 of it ("NS-sigmoid", equation 9); z itself.
enum class Activation { sigmoid, silu, ns_sigmoid, identity };

/// Whether scores multiply what is gated or are added to it.
enum class GateMode { multiplicative, additive };

struct GateFunction {
  Activation activation = Activation::sigmoid;
  GateMode mode = GateMode::multiplicative;
  float scale = 1;  ///< of the scores
};

/// With scores s = scale activation(logits): y = x s, or y = x + s. Elementwise: a logit for each
/// element, E = D; headwise: one for each head, E = 1. Without logits x itself is the logit.
struct GateForward {
  static constexpr std::string_view name = "gate_forward";
  Tensor y;            // [T, KV, G, D], a slice: only D is contiguous; may be x itself
  ConstTensor x;       // [T, KV, G, D], a slice
  ConstTensor logits;  // [T, KV, G, E], a slice; strides of 0 share logits; absent: x
  GateFunction function;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx = dy s, or dy;  dlogits = scale activation'(logits) (dy x, or dy), summed over D if headwise.
/// Without logits both flow into dx.
struct GateBackward {
  static constexpr std::string_view name = "gate_backward";
  Tensor dx;           // [T, KV, G, D], a slice; may be dy itself
  Tensor dlogits;      // [T, KV, G, E], a slice; written whole, also where logits are shared
  ConstTensor dy, x;   // [T, KV, G, D], slices
  ConstTensor logits;  // as in forward
  GateFunction function;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
