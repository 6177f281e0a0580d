// Sums over tokens and means over heads.
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

/// y[t, e] = mean over the heads of activation(x[t, j, g, e]): a gate score that heads share
/// (arXiv 2505.06708, section 3.2.1), or with Activation::identity the logit of one.
struct MeanHeadsForward {
  static constexpr std::string_view name = "mean_heads_forward";
  Tensor y;       // [T, 1, 1, E], any token stride
  ConstTensor x;  // [T, KV, G, E], a slice: only E is contiguous
  Activation activation;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx[t, j, g, e] = dy[t, e] activation'(x[t, j, g, e]) / (KV G).
struct MeanHeadsBackward {
  static constexpr std::string_view name = "mean_heads_backward";
  Tensor dx;       // [T, KV, G, E], a slice; may be x itself
  ConstTensor dy;  // [T, 1, 1, E], any token stride
  ConstTensor x;   // as in forward
  Activation activation;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
