// The sigmoid gate on the attention output: equation 5 of "Gated Attention for Large Language
// Models" (arXiv 2505.06708) at position G1, elementwise or headwise.
#pragma once

#include "ops/op.h"

namespace hg {

/// From a gate's logit to its score. ns_sigmoid(x) = 0.5 + 0.5 sigmoid(x): never below a half.
enum class Activation { sigmoid, silu, ns_sigmoid, identity };

/// y = o * sigmoid(logits). Elementwise: one logit per element, E = D; headwise: one per head, E
/// = 1.
struct GateForward {
  static constexpr std::string_view name = "gate_forward";
  Tensor y;            // [T, KV, G, D] contiguous
  ConstTensor o;       // [T, KV, G, D] contiguous
  ConstTensor logits;  // [T, KV, G, E], a slice of the fused projection: only E is contiguous

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// With s = sigmoid(logits): d_o = dy s,  dlogits = dy o s (1 - s), summed over D if headwise.
struct GateBackward {
  static constexpr std::string_view name = "gate_backward";
  Tensor d_o;          // [T, KV, G, D] contiguous
  Tensor dlogits;      // [T, KV, G, E], strided like logits
  ConstTensor dy, o;   // [T, KV, G, D] contiguous
  ConstTensor logits;  // as in forward

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
