// The optimizer step: the gradient's global norm, and AdamW over every parameter.
#pragma once

#include "dist/param_store.h"
#include "train/config.h"

namespace hg {

/// Norm over all gradients of all ranks, as they are: not yet divided by the number of tokens.
double gradient_norm(Context& ctx, ParamStore& store);

/// One AdamW step on every parameter of this rank, with gradients multiplied by `gradient_scale`;
/// other ranks' follow in the background. `step` counts from 1.
void adamw_step(Context& ctx, ParamStore& store, const OptimizerConfig& config, double lr,
                double gradient_scale, std::int64_t step);

}  // namespace hg
