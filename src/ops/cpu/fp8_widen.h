// An FP8 matrix as the CPU multiplies it.
#pragma once

#include "ops/fp8.h"

namespace hg {

/// to = from times its scales, on all threads. [R, C] f32, contiguous.
struct WidenFp8 {
  Tensor to;
  const Fp8Matrix& from;
};
void widen_fp8(Context& ctx, const WidenFp8& widen);

}  // namespace hg
