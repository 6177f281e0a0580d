// RMSNorm over each head (QK-norm) and the rotary position embedding (Su et al., 2021) behind it,
// in one pass: the rotate-half form of GPT-NeoX and Qwen3.
#pragma once

#include "ops/op.h"

namespace hg {

/// cos and sin of position * theta^(-2i / R) for i in [0, R/2), computed in f64, kept in f32.
/// Written to two [P, R/2] f32 tensors, on the host.
void fill_rope_table(const Tensor& cos, const Tensor& sin, double theta);

/// y = rope(norm(x)) for each head. With u = x rstd weight (or x without a norm), and for i < R/2:
///   y[i]       = u[i] cos[p, i] - u[i + R/2] sin[p, i]
///   y[i + R/2] = u[i + R/2] cos[p, i] + u[i] sin[p, i]
/// and y[j] = u[j] for j >= R. R, the rotary dimensions, is twice the table's width, at most D.
struct HeadNormRopeForward {
  static constexpr std::string_view name = "head_norm_rope_forward";
  Tensor y;               // [T, KV, G, D] contiguous
  Tensor rstd;            // [T, KV, G] f32; absent without a norm
  ConstTensor x;          // [T, KV, G, D], a slice of the fused projection: only D is contiguous
  ConstTensor weight;     // [D]; absent: no norm
  ConstTensor cos, sin;   // [P, R/2] f32
  ConstTensor positions;  // [T] i32, below P
  float eps;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  static constexpr std::int64_t kMaxHeadDim = 256;
};

/// The rotation is undone by its transpose; then the norm's backward, as in ops/norm.h, per head.
struct HeadNormRopeBackward {
  static constexpr std::string_view name = "head_norm_rope_backward";
  Tensor dx;              // [T, KV, G, D], strided like x
  Tensor dweight;         // [D] f32; absent without a norm
  ConstTensor dy;         // [T, KV, G, D] contiguous
  ConstTensor x, rstd;    // as in forward
  ConstTensor weight;     // [D]; absent: no norm
  ConstTensor cos, sin;   // [P, R/2] f32
  ConstTensor positions;  // [T] i32
  bool accumulate;        // dweight

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Partial sums of dweight, [pieces, D] f32; absent without a norm.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kTokensPerPiece = 32;
  static constexpr std::int64_t kMaxHeadDim = HeadNormRopeForward::kMaxHeadDim;
};

}  // namespace hg
