// CPU bodies of ops/inspect_activations.h: one pass, a task per piece of rows.
#include "ops/inspect_activations.h"

#include <cmath>
#include <span>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/kernels/inspect_lanes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

/// Sums in f64, which loses nothing to a massive activation, nor overflows in its square.
struct Sums {
  F64 magnitudes{}, squares{};
  I32 finite{}, below_1e2{}, below_1e3{};  // sums of masks, see count()

  HG_INLINE void add(F32 magnitude, I32 here) {
    for (const auto half : {to_f64(low(magnitude)), to_f64(high(magnitude))}) {
      magnitudes += half;
      squares += half * half;
    }
    finite += here;
    below_1e2 += here & (magnitude < 1e-2F);
    below_1e3 += here & (magnitude < 1e-3F);
  }
};

template <class T>
Magnitudes::Partial measure(const Magnitudes& op, std::int64_t begin, std::int64_t end) {
  const std::int64_t channels = op.x.dim(1);
  Sums sums;
  Magnitudes::Partial partial{};
  partial.max = -1;
  for (std::int64_t t = begin; t < end; ++t) {
    const T* row = op.x.as<T>() + t * op.x.stride(0);
    F32 top = splat(-1);
    for_lanes(channels, [&](std::int64_t i, auto lanes) {
      const F32 magnitude = absolute(load(row + i, lanes));
      const I32 here = live(lanes) & (magnitude < kInfinity);
      sums.add(here ? magnitude : F32{}, here);
      top = max(top, here ? magnitude : splat(-1));
    });
    const float highest = reduce_max(top);
    if (highest <= partial.max) continue;
    partial.max = highest;
    partial.token = t;
    partial.channel = 0;
    while (std::abs(static_cast<float>(row[partial.channel])) != highest) ++partial.channel;
  }
  partial.sum = reduce_add(sums.magnitudes);
  partial.squares = reduce_add(sums.squares);
  partial.finite = count(sums.finite);
  partial.below_1e2 = count(sums.below_1e2);
  partial.below_1e3 = count(sums.below_1e3);
  return partial;
}

/// The whole from its pieces, in their order: of equals, the first stays the largest.
Magnitudes::Partial add_up(std::span<const Magnitudes::Partial> pieces) {
  Magnitudes::Partial total{};
  total.max = -1;
  for (const Magnitudes::Partial& piece : pieces) {
    total.sum += piece.sum;
    total.squares += piece.squares;
    total.finite += piece.finite;
    total.below_1e2 += piece.below_1e2;
    total.below_1e3 += piece.below_1e3;
    if (piece.max <= total.max) continue;
    total.max = piece.max;
    total.token = piece.token;
    total.channel = piece.channel;
  }
  return total;
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const Magnitudes& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const Tensor room = op.scratch(ctx);
  const std::span pieces(static_cast<Magnitudes::Partial*>(room.data()),
                         static_cast<std::size_t>(room.dim(0)));
  constexpr std::int64_t kRows = Magnitudes::kRowsPerPiece;
  for_float_type(op.x.dtype(), [&]<class T>() {
    parallel_ranges(op.x.dim(0), kRows, [&](std::int64_t begin, std::int64_t end) {
      pieces[static_cast<std::size_t>(begin / kRows)] = measure<T>(op, begin, end);
    });
  });
  const Magnitudes::Partial total = add_up(pieces);
  float* out = op.out.as<float>();
  out[Magnitudes::kNonFinite] = static_cast<float>(op.x.numel() - total.finite);
  if (total.finite == 0) {
    std::fill_n(out, Magnitudes::kNonFinite, kNaN);
    return;
  }
  const auto finite = static_cast<double>(total.finite);
  out[Magnitudes::kMax] = static_cast<float>(total.max);
  out[Magnitudes::kToken] = static_cast<float>(total.token);
  out[Magnitudes::kChannel] = static_cast<float>(total.channel);
  out[Magnitudes::kMean] = static_cast<float>(total.sum / finite);
  out[Magnitudes::kRms] = static_cast<float>(std::sqrt(total.squares / finite));
  out[Magnitudes::kShareBelow1e2] =
      static_cast<float>(static_cast<double>(total.below_1e2) / finite);
  out[Magnitudes::kShareBelow1e3] =
      static_cast<float>(static_cast<double>(total.below_1e3) / finite);
}

}  // namespace hg
