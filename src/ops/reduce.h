// Sums over tokens and over heads.
#pragma once

#include "ops/gate.h"
#include "ops/op.h"

namespace hg {

/// dparam (+)= sum over t of x[t]: the gradient of a parameter that all tokens share.
struct SumTokens {
  static constexpr std::string_view name = "sum_tokens";
  Tensor dparam;    // [N] f32
  ConstTensor x;    // [T, N], any row stride
  bool accumulate;  // dparam

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Partial sums, [pieces, N] f32.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kTokensPerPiece = 64;
};

/// y[t, e] = factor times the sum over heads of activation(x[t, j, g, e]). With factor 1 / heads
/// that is the mean of scores, or with Activation::identity of logits, that heads share (arXiv
/// 2505.06708, section 3.2.1); with factor 1 and identity it is the gradient of something shared.
struct SumHeadsForward {
  static constexpr std::string_view name = "sum_heads_forward";
  Tensor y;       // [T, 1, 1, E], any token stride
  ConstTensor x;  // [T, KV, G, E], a slice: only E is contiguous
  Activation activation;
  float factor;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx[t, j, g, e] = factor dy[t, e] activation'(x[t, j, g, e]).
struct SumHeadsBackward {
  static constexpr std::string_view name = "sum_heads_backward";
  Tensor dx;       // [T, KV, G, E], a slice; may be x itself
  ConstTensor dy;  // [T, 1, 1, E], any token stride
  ConstTensor x;   // as in forward
  Activation activation;
  float factor;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
