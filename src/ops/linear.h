// y = x W^T: the three matrix products of a linear layer without bias. They are the bulk of a step.
// All operands but dweight are f32 or all are bf16, with inner stride 1 and any row stride.
#pragma once

#include "ops/op.h"

namespace hg {

/// Bytes that any product on a GPU may take besides its operands: those that cuBLAS itself takes on
/// sm_90 and later.
inline constexpr std::int64_t kCublasLtWorkspace = 32 << 20;

/// What a product needs besides its operands; see ops/cpu/linear.cpp. Parts may be absent.
struct LinearScratch {
  Tensor a, b, c;  // operands and results on their way to and from oneDNN
  Tensor partial;  // [S, N, K] f32: a weight gradient's terms
  Tensor library;  // [workers, bytes / 4]: oneDNN's own; or [1, kCublasLtWorkspace / 4]
};

/// y = x weight^T.
struct LinearForward {
  static constexpr std::string_view name = "linear_forward";
  Tensor y;               // [T, N]
  ConstTensor x, weight;  // [T, K], [N, K]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  LinearScratch scratch(Context& ctx) const;
};

/// dx = dy weight.
struct LinearBackwardInput {
  static constexpr std::string_view name = "linear_backward_input";
  Tensor dx;               // [T, K]
  ConstTensor dy, weight;  // [T, N], [N, K]

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  LinearScratch scratch(Context& ctx) const;
};

/// dweight (+)= dy^T x, in f32.
struct LinearBackwardWeight {
  static constexpr std::string_view name = "linear_backward_weight";
  Tensor dweight;     // [N, K] f32, contiguous
  ConstTensor dy, x;  // [T, N], [T, K]
  bool accumulate;    // dweight

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  LinearScratch scratch(Context& ctx) const;
};

}  // namespace hg
