// Where an activation lives, and whether a pass has to make it: the recompute policy in one place.
#pragma once

#include "core/context.h"
#include "model/config.h"

namespace hg {

/// How dear an activation is to make again.
enum class Effort { cheap, matmul };

/// Why a block's forward runs: to train; in backward, to make again what training did not keep; or
/// without a backward to follow.
enum class Pass { train, again, infer };

/// Passed through a block's forward. The same lines run in every pass, so that all give the same
/// bits; `make` tells which of them have work to do.
struct Keep {
  Recompute policy;
  Pass pass;

  bool kept(Effort effort) const {
    if (pass == Pass::infer) return false;
    return policy == Recompute::none || (policy == Recompute::cheap && effort == Effort::matmul);
  }

  /// True if `tensor` must be computed in this pass; then it has been allocated, among the
  /// activations if it is kept for backward and in scratch otherwise.
  bool make(Context& ctx, Effort effort, Tensor& tensor, std::string_view label, DType dtype,
            const Shape& shape) const {
    if (pass == Pass::again && kept(effort)) return false;
    tensor = (kept(effort) ? ctx.activations : ctx.scratch).allocate(label, dtype, shape);
    return true;
  }
};

}  // namespace hg
