// RMSNorm (Zhang and Sennrich, 2019), alone and fused with the residual addition in front of it.
#pragma once

#include "ops/op.h"

namespace hg {

/// y = x * rstd * weight, with rstd = 1 / sqrt(mean(x^2) + eps) for each row.
struct RmsNormForward {
  static constexpr std::string_view name = "rms_norm_forward";
  Tensor y, rstd;         // [T, D], [T] f32
  ConstTensor x, weight;  // [T, D], [D]
  float eps;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// sum = x + delta; y = RMSNorm(sum): one pass over the residual stream instead of two.
struct AddRmsNormForward {
  static constexpr std::string_view name = "add_rms_norm_forward";
  Tensor y, sum, rstd;           // [T, D], [T, D], [T] f32
  ConstTensor x, delta, weight;  // [T, D], [T, D], [D]
  float eps;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// Backward of both. With xhat = x rstd and g = dy weight:
///   dx = rstd (g - xhat mean(g xhat)) + dresidual,    dweight = sum over rows of dy xhat.
/// For AddRmsNorm, `x` is the sum and dx the gradient of x and of delta alike.
struct RmsNormBackward {
  static constexpr std::string_view name = "rms_norm_backward";
  Tensor dx, dweight;               // [T, D], [D] f32; dx may be dy or dresidual itself
  ConstTensor dy, x, rstd, weight;  // [T, D], [T, D], [T] f32, [D]
  ConstTensor dresidual;            // [T, D]: the gradient that flows past the norm; may be absent
  bool accumulate;                  // dweight

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Partial sums of dweight, [pieces, D] f32.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kRowsPerPiece = 64;
};

}  // namespace hg
