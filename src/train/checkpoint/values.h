// Values from a file to where the model computes.
#pragma once

#include "core/context.h"
#include "dist/param_store.h"
#include "train/checkpoint/saved_tensors.h"

namespace hg {

/// Copies a run of values, converting between f32 and bf16, into a contiguous tensor of the
/// context.
void take_values(Context& ctx, const Tensor& to, const ConstTensor& from);

/// Reads a buffer that is saved, such as a router's bias, whole on every rank.
void read_buffer(const SavedTensors& saved, const Buffer& buffer, Context& ctx);

}  // namespace hg
