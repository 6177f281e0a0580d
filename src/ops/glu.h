// SwiGLU (Shazeer, 2020), on the fused projection [gate | up].
#pragma once

#include "ops/op.h"

namespace hg {

/// y = silu(gate) * up, with silu(a) = a sigmoid(a).
struct SwiGluForward {
  static constexpr std::string_view name = "swiglu_forward";
  Tensor y;       // [T, F]
  ConstTensor x;  // [T, 2F] = [gate | up]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// With s = sigmoid(gate): dgate = dy up s (1 + gate (1 - s)),  dup = dy gate s.
struct SwiGluBackward {
  static constexpr std::string_view name = "swiglu_backward";
  Tensor dx;          // [T, 2F]
  ConstTensor dy, x;  // [T, F], [T, 2F]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
