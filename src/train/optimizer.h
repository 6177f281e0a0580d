// The optimizer step: the gradient's global norm, and AdamW over every parameter.
#pragma once

#include "dist/param_store.h"
#include "train/config.h"

namespace hg {

/// Writes the working copy of every weight from the master, after these were drawn or loaded.
void refresh_working(Context& ctx, const ParamStore& store);

/// Norm over all gradients in the store, as they are: not yet divided by the number of tokens.
double gradient_norm(Context& ctx, const ParamStore& store);

/// One AdamW step on every parameter, with gradients multiplied by `gradient_scale`. `step` counts
/// from 1.
void adamw_step(Context& ctx, const ParamStore& store, const OptimizerConfig& config, double lr,
                double gradient_scale, std::int64_t step);

}  // namespace hg
