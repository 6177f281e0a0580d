// SwiGLU (Shazeer, 2020), on the fused projection [gate | up].
#pragma once

#include "ops/op.h"

namespace hg {

/// y[t] = weights[t] silu(gate[t]) up[t], with silu(a) = a sigmoid(a). An expert's weight is
/// applied here, in front of its down projection, so that backward needs no output of the expert.
struct SwiGluForward {
  static constexpr std::string_view name = "swiglu_forward";
  Tensor y;             // [T, F]
  ConstTensor x;        // [T, 2F] = [gate | up]
  ConstTensor weights;  // [T] f32, of rows; may be absent: 1
  ConstTensor used{};   // [1] i32: rows from there on are nobody's, and left as they are; absent: T

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// With s = sigmoid(gate) and w the row's weight: dgate = w dy up s (1 + gate (1 - s)),
/// dup = w dy gate s,  dweights[t] = dy[t] . (silu(gate[t]) up[t]), in f32.
struct SwiGluBackward {
  static constexpr std::string_view name = "swiglu_backward";
  Tensor dx;            // [T, 2F]
  Tensor dweights;      // [T] f32; absent without weights
  ConstTensor dy, x;    // [T, F], [T, 2F]
  ConstTensor weights;  // [T] f32, as in forward; may be absent: 1
  ConstTensor used{};   // [1] i32, as in forward; may be absent: T

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
