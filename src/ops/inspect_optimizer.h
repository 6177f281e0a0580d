// How far an optimizer step moved the weights. Forward only.
#pragma once

#include "ops/op.h"

namespace hg {

/// Sums over any part of the parameters, after an AdamW step on it. With the operands of that step
/// and u = (m / c1) / (sqrt(v / c2) + eps), see ops/optimizer.h, the weight before was
/// (w + lr u) / (1 - lr weight_decay), so that the step has added
///   update = -lr (u + weight_decay w) / (1 - lr weight_decay),
/// which is computed as it stands: the difference of the weights would lose most digits. What is
/// NaN or infinite shows in the sums that it enters; so does lr weight_decay = 1, behind which the
/// weights before are lost.
struct UpdateNorms {
  static constexpr std::string_view name = "update_norms";
  /// Elements of `out`.
  enum Sum { kWeights, kUpdates, kGradients, kSums };

  Tensor out;                // [kSums] f32: of w^2, update^2, (gradient_scale gradient)^2
  ConstTensor master, m, v;  // [N] f32, after the step
  ConstTensor gradient;      // [N] f32, that the step took
  double lr, beta1, beta2, eps, weight_decay;
  float gradient_scale;
  std::int64_t step;  // from 1

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Partial sums, [kPieces, kSums] f64, of devices where pieces are too many for the stack.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kPieces = 1024;
};

}  // namespace hg
