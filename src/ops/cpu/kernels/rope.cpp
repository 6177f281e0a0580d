// CPU bodies of ops/rope.h. A head stays in the first-level cache from load to store; dweight is
// summed over pieces of tokens in a fixed order.
#include "ops/rope.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/reduce.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

/// A row of the table: the cosines and sines of one position.
struct Rotation {
  const float *cos, *sin;
  std::int64_t half;  // R / 2
};

/// The rotation of each token.
class Rotations {
 public:
  template <class Op>
  explicit Rotations(const Op& op)
      : cos_(op.cos.template as<float>()),
        sin_(op.sin.template as<float>()),
        positions_(op.positions.template as<std::int32_t>()),
        half_(op.cos.dim(1)) {}

  Rotation at(std::int64_t t) const {
    const std::int64_t row = positions_[t] * half_;
    return {cos_ + row, sin_ + row, half_};
  }

 private:
  const float *cos_, *sin_;
  const std::int32_t* positions_;
  std::int64_t half_;
};

template <class T>
HG_INLINE float inverse_rms(const T* x, std::int64_t d, float eps) {
  F32 squares{};
  for_lanes(d, [&](std::int64_t i, auto lanes) {
    const F32 v = load(x + i, lanes);
    squares += v * v;
  });
  return 1.0F / std::sqrt(reduce_add(squares) / static_cast<float>(d) + eps);
}

template <class T, bool kNorm>
void forward(const HeadNormRopeForward& op) {
  const std::int64_t d = op.x.dim(3);
  const Heads<const T> x(op.x);
  const Heads<T> y(op.y);
  const Heads<float> rstds(op.rstd);
  const T* weight = kNorm ? op.weight.as<T>() : nullptr;
  const Rotations rotations(op);
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T* in = x.at(t, j, g);
    T* out = y.at(t, j, g);
    const Rotation r = rotations.at(t);
    float rstd = 1;
    if constexpr (kNorm) {
      rstd = inverse_rms(in, d, op.eps);
      *rstds.at(t, j, g) = rstd;
    }
    const auto normed = [&](std::int64_t i, auto lanes) {
      const F32 v = load(in + i, lanes);
      return kNorm ? v * rstd * load(weight + i, lanes) : v;
    };
    for_lanes(r.half, [&](std::int64_t i, auto lanes) {
      const F32 cos = load(r.cos + i, lanes), sin = load(r.sin + i, lanes);
      const F32 a = normed(i, lanes), b = normed(i + r.half, lanes);
      store(out + i, a * cos - b * sin, lanes);
      store(out + i + r.half, b * cos + a * sin, lanes);
    });
    const std::int64_t still = 2 * r.half;  // dimensions from here on are not rotated
    for_lanes(d - still, [&](std::int64_t i, auto lanes) {
      store(out + still + i, normed(still + i, lanes), lanes);
    });
  });
}

/// Calls take(i, du, lanes) for all elements of a head, with du the gradient in front of the
/// rotation.
template <class T, class Take>
HG_INLINE void unrotate(const T* dy, const Rotation& r, std::int64_t d, Take&& take) {
  for_lanes(r.half, [&](std::int64_t i, auto lanes) {
    const F32 cos = load(r.cos + i, lanes), sin = load(r.sin + i, lanes);
    const F32 a = load(dy + i, lanes), b = load(dy + i + r.half, lanes);
    take(i, a * cos + b * sin, lanes);
    take(i + r.half, b * cos - a * sin, lanes);
  });
  const std::int64_t still = 2 * r.half;
  for_lanes(d - still, [&](std::int64_t i, auto lanes) {
    take(still + i, load(dy + still + i, lanes), lanes);
  });
}

template <class T>
void backward_without_norm(const HeadNormRopeBackward& op) {
  const std::int64_t d = op.x.dim(3);
  const Heads<const T> dy(op.dy);
  const Heads<T> dx(op.dx);
  const Rotations rotations(op);
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    T* out = dx.at(t, j, g);
    unrotate(dy.at(t, j, g), rotations.at(t), d,
             [&](std::int64_t i, F32 du, auto lanes) { store(out + i, du, lanes); });
  });
}

template <class T>
void backward(const HeadNormRopeBackward& op, Context& ctx) {
  const ArenaScope scope(ctx.scratch);
  const std::int64_t d = op.x.dim(3);
  const Heads<const T> x(op.x), dy(op.dy);
  const Heads<const float> rstds(op.rstd);
  const Heads<T> dx(op.dx);
  const T* weight = op.weight.as<T>();
  const Rotations rotations(op);
  const Tensor pieces = op.scratch(ctx);
  constexpr std::int64_t kTokens = HeadNormRopeBackward::kTokensPerPiece;
  parallel_ranges(op.x.dim(0), kTokens, [&](std::int64_t begin, std::int64_t end) {
    float* dweight = pieces.as<float>() + begin / kTokens * d;
    std::fill_n(dweight, d, 0.0F);
    for_heads(op.x.shape(), begin, end, [&](std::int64_t t, std::int64_t j, std::int64_t g) {
      const T* in = x.at(t, j, g);
      T* out = dx.at(t, j, g);
      const float rstd = *rstds.at(t, j, g);
      alignas(64) std::array<float, HeadNormRopeBackward::kMaxHeadDim> gradient;  // of xhat
      F32 dot{};                                                                  // with xhat
      unrotate(dy.at(t, j, g), rotations.at(t), d, [&](std::int64_t i, F32 du, auto lanes) {
        const F32 xhat = load(in + i, lanes) * rstd, scaled = du * load(weight + i, lanes);
        dot += scaled * xhat;
        store(gradient.data() + i, scaled, lanes);
        store(dweight + i, load(dweight + i, lanes) + du * xhat, lanes);
      });
      const float mean = reduce_add(dot) / static_cast<float>(d);
      for_lanes(d, [&](std::int64_t i, auto lanes) {
        const F32 xhat = load(in + i, lanes) * rstd;
        store(out + i, rstd * (load(gradient.data() + i, lanes) - xhat * mean), lanes);
      });
    });
  });
  sum_pieces(op.dweight, pieces, op.accumulate);
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const HeadNormRopeForward& op, Context&) {
  for_float_type(op.x.dtype(),
                 [&]<class T>() { op.weight ? forward<T, true>(op) : forward<T, false>(op); });
}

template <>
void cpu_kernel<kIsa>(const HeadNormRopeBackward& op, Context& ctx) {
  for_float_type(op.x.dtype(), [&]<class T>() {
    op.weight ? backward<T>(op, ctx) : backward_without_norm<T>(op);
  });
}

}  // namespace hg
