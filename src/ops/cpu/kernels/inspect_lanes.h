// Counting and comparing single lanes, for the ops that measure a run. Only for files in
// ops/cpu/kernels.
#pragma once

#include <limits>

#include "ops/cpu/simd.h"

namespace hg {
namespace {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

HG_INLINE F32 absolute(F32 x) {
  return reinterpret_cast<F32>(reinterpret_cast<U32>(x) & 0x7fffffffU);
}

/// How often a lane of a mask was set, from the sum of the masks: one that is set is -1.
HG_INLINE std::int64_t count(I32 sum_of_masks) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < kLanes; ++i) sum -= sum_of_masks[i];
  return sum;
}

}  // namespace
}  // namespace hg
