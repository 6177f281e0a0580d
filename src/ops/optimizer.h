// AdamW (Loshchilov and Hutter, 2019) and the gradient norm, in one pass over flat memory each.
#pragma once

#include "ops/op.h"

namespace hg {

/// With g = gradient_scale * gradient, bias corrections c1 = 1 - beta1^step, c2 = 1 - beta2^step:
///   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///   master -= lr (weight_decay master + (m / c1) / (sqrt(v / c2) + eps));   working = master
/// Decay is decoupled and multiplied by the learning rate, as in PyTorch.
struct AdamW {
  static constexpr std::string_view name = "adamw";
  Tensor master, m, v;   // [N] f32
  Tensor working;        // [N] bf16; absent where the model computes with the master itself
  ConstTensor gradient;  // [N] f32
  double lr, beta1, beta2, eps, weight_decay;  // f64, since 1 - 0.999F is off in the fifth digit
  float gradient_scale;                        // of clipping
  std::int64_t step;                           // from 1

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// out = sum of x^2, accumulated in f64 over pieces of fixed size, in order.
struct SumOfSquares {
  static constexpr std::string_view name = "sum_of_squares";
  Tensor out;     // [1] f32
  ConstTensor x;  // [N] f32

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// The pieces' sums on a GPU, [kPieces] f64; the CPU has room for its own.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kPieces = 512;
};

/// y = x in y's element type.
struct Cast {
  static constexpr std::string_view name = "cast";
  Tensor y;       // [N] f32 or bf16
  ConstTensor x;  // [N] f32 or bf16

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
