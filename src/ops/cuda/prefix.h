// Sums over what comes before, and searches in such sums: who has which rows.
#pragma once

#include "cuda/device.h"

namespace hg {

/// What every thread of a block gets: the sum over the threads before it, and over all.
struct Prefix {
  int before, total;
};

/// For blocks of one row of threads, a multiple of 32. `partial` has an element for every warp, and
/// may be used again after the next __syncthreads.
HG_DEVICE Prefix prefix_sum(int x, int* partial) {
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int sum = x;
  for (unsigned lanes = 1; lanes < 32; lanes *= 2) {
    const int other = __shfl_up_sync(0xffffffff, sum, lanes);
    if (lane >= lanes) sum += other;
  }
  if (lane == 31) partial[warp] = sum;
  __syncthreads();
  Prefix result{sum - x, 0};
  for (unsigned i = 0; i < blockDim.x / 32; ++i) {
    if (i < warp) result.before += partial[i];
    result.total += partial[i];
  }
  return result;
}

/// The last of `count` groups that begins at or before `i`; begins[0] is.
template <class Begin>
HG_DEVICE int group_of(std::int64_t i, int count, Begin&& begin) {
  int group = 0;
  for (int end = count; end - group > 1;) {
    const int middle = (group + end) / 2;
    (begin(middle) <= i ? group : end) = middle;
  }
  return group;
}

}  // namespace hg
