// y = x W^T: the three matrix products of a linear layer without bias. They are the bulk of a step.
#pragma once

#include "ops/op.h"

namespace hg {

/// y = x weight^T.
struct LinearForward {
  static constexpr std::string_view name = "linear_forward";
  Tensor y;               // [T, N]
  ConstTensor x, weight;  // [T, K], [N, K]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx = dy weight.
struct LinearBackwardInput {
  static constexpr std::string_view name = "linear_backward_input";
  Tensor dx;               // [T, K]
  ConstTensor dy, weight;  // [T, N], [N, K]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dweight (+)= dy^T x, in f32.
struct LinearBackwardWeight {
  static constexpr std::string_view name = "linear_backward_weight";
  Tensor dweight;     // [N, K] f32
  ConstTensor dy, x;  // [T, N], [T, K]
  bool accumulate;    // dweight

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
