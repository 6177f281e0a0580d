// The fixed-order end of a reduction over pieces of rows. Only for files in ops/cpu/kernels.
#pragma once

#include "core/parallel.h"
#include "core/tensor.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

/// out[j] (+)= pieces[0, j] + pieces[1, j] + ..., in that order. [D] f32, [P, D] f32.
inline void sum_pieces(const Tensor& out, const ConstTensor& pieces, bool accumulate) {
  const std::int64_t count = pieces.dim(0), d = pieces.dim(1);
  auto* to = out.as<float>();
  const auto* from = pieces.as<float>();
  constexpr std::int64_t kColumns = 256;
  parallel_ranges(d, kColumns, [&](std::int64_t begin, std::int64_t end) {
    for_lanes(end - begin, [&](std::int64_t i, auto lanes) {
      F32 sum = accumulate ? load(to + begin + i, lanes) : F32{};
      for (std::int64_t p = 0; p < count; ++p) sum += load(from + p * d + begin + i, lanes);
      store(to + begin + i, sum, lanes);
    });
  });
}

}  // namespace
}  // namespace hg
