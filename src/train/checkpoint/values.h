// Values from a file to where the model computes.
#pragma once

#include "core/context.h"

namespace hg {

/// Copies a run of values, converting between f32 and bf16, into a contiguous tensor of the
/// context.
void take_values(Context& ctx, const Tensor& to, const ConstTensor& from);

}  // namespace hg
