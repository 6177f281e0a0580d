// CUDA bodies of ops/rope.h. A head belongs to up to 32 lanes, which keep it in registers from load
// to store. A position that the CPU body rejects makes NaN of its token's heads.
#include "ops/rope.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/pieces.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kTokens = HeadNormRopeBackward::kTokensPerPiece;

/// The rotations of tokens, and how a head's vectors are paired: the first `half` with those that
/// follow; the others stay.
template <int n>
struct Rotations {
  const float *cos, *sin;
  const std::int32_t* positions;
  std::int64_t count;  // of positions
  int half, still;     // in vectors

  constexpr int parts() const { return half + still; }
  HG_DEVICE bool rotates(int part) const { return part < half; }
  /// Where a part's vectors are: one of each pair, or one that stays.
  HG_DEVICE int first(int part) const { return part < half ? part : part + half; }
  HG_DEVICE int second(int part) const { return part + half; }
};

/// A pair of vectors, or one that stays, as f32.
template <int n>
struct Part {
  float a[n], b[n];
};

template <class T, int n>
HG_DEVICE Part<n> load_part(const T* head, const Rotations<n>& rotations, int part) {
  const auto a = load_vector<n>(head, rotations.first(part));
  Part<n> result;
  for (int j = 0; j < n; ++j) result.a[j] = a[j], result.b[j] = 0;
  if (!rotations.rotates(part)) return result;
  const auto b = load_vector<n>(head, rotations.second(part));
  for (int j = 0; j < n; ++j) result.b[j] = b[j];
  return result;
}

template <class T, int n>
HG_DEVICE void store_part(T* head, const Rotations<n>& rotations, int part, const Part<n>& values) {
  Elements<T, n> a, b;
  for (int j = 0; j < n; ++j) a.set(j, values.a[j]), b.set(j, values.b[j]);
  store_vector(head, rotations.first(part), a);
  if (rotations.rotates(part)) store_vector(head, rotations.second(part), b);
}

/// The rotation of token t; backwards with sign -1.
template <int n>
HG_DEVICE void rotate(Part<n>& x, const Rotations<n>& rotations, std::int64_t t, int part,
                      float sign) {
  const std::int64_t position = rotations.positions[t];
  if (position < 0 || position >= rotations.count) {
    for (int j = 0; j < n; ++j) x.a[j] = x.b[j] = nanf("");
    return;
  }
  if (!rotations.rotates(part)) return;
  const std::int64_t row = position * rotations.half * n;
  const auto cos = load_vector<n>(rotations.cos + row, part),
             sin = load_vector<n>(rotations.sin + row, part);
  for (int j = 0; j < n; ++j) {
    const float a = x.a[j], b = x.b[j], s = sign * sin[j];
    x.a[j] = a * cos[j] - b * s;
    x.b[j] = b * cos[j] + a * s;
  }
}

/// Without a norm: a thread for every part of a head, in both directions.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    rotate_heads(Heads<T> y, Heads<const T> x, HeadCount heads, Rotations<n> rotations,
                 float sign) {
  const unsigned number = cover_row();
  const int part = cover_column();
  if (number >= heads.all || part >= rotations.parts()) return;
  const Head head = heads[number];
  Part<n> values = load_part<T>(x[head], rotations, part);
  rotate(values, rotations, head.t, part, sign);
  store_part(y[head], rotations, part, values);
}

/// Parts of a head that a lane has, at most: with fewer than 32 lanes, or with all of them.
template <int n>
inline constexpr int kParts = static_cast<int>(HeadNormRopeForward::kMaxHeadDim) / n / 32;

/// blockDim.y heads a block.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    head_norm_rope_forward(T* __restrict__ y, float* __restrict__ rstds, Heads<const T> x,
                           const T* __restrict__ weight, HeadCount heads, Rotations<n> rotations,
                           float eps) {
  const unsigned number = cover_row();
  const bool there = number < heads.all;  // a head that is not has no values, but sums like others
  const Head head = heads[there ? number : 0];
  const int lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
  const int parts = there ? rotations.parts() : 0, d = (rotations.parts() + rotations.half) * n;
  Part<n> values[kParts<n>];
  float squares = 0;
  for (int k = 0; k < kParts<n>; ++k) {
    const int part = lane + k * lanes;
    if (part >= parts) break;
    values[k] = load_part<T>(x[head], rotations, part);
    for (int j = 0; j < n; ++j)
      squares += values[k].a[j] * values[k].a[j] + values[k].b[j] * values[k].b[j];
  }
  const float scale = 1.0F / sqrtf(lanes_sum(squares) / static_cast<float>(d) + eps);
  if (there && lane == 0) rstds[number] = scale;
  for (int k = 0; k < kParts<n>; ++k) {
    const int part = lane + k * lanes;
    if (part >= parts) break;
    const Part<n> w = load_part<T>(weight, rotations, part);
    for (int j = 0; j < n; ++j) {
      values[k].a[j] = values[k].a[j] * scale * w.a[j];
      values[k].b[j] = values[k].b[j] * scale * w.b[j];
    }
    rotate(values[k], rotations, head.t, part, 1);
    store_part(y + static_cast<std::int64_t>(number) * d, rotations, part, values[k]);
  }
}

/// A piece of kTokens tokens a block, blockDim.y heads at a time, each with its own sums of
/// dweight; these are added in order at the end.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    head_norm_rope_backward(Heads<T> dx, float* __restrict__ pieces, const T* __restrict__ dy,
                            Heads<const T> x, const float* __restrict__ rstds,
                            const T* __restrict__ weight, HeadCount heads, Rotations<n> rotations) {
  HG_DYN_SHARED(memory);
  const int lane = static_cast<int>(threadIdx.x), lanes = static_cast<int>(blockDim.x);
  const int d = (rotations.parts() + rotations.half) * n;
  const unsigned of_token = heads.groups * heads.of_group;
  const unsigned begin = blockIdx.x * static_cast<unsigned>(kTokens) * of_token;
  const unsigned end = min(begin + static_cast<unsigned>(kTokens) * of_token, heads.all);
  Part<n> dweight[kParts<n>] = {};
  for (unsigned first = begin; first < end; first += blockDim.y) {
    const unsigned number = first + threadIdx.y;
    const bool there = number < end;
    const Head head = heads[there ? number : 0];
    const int parts = there ? rotations.parts() : 0;
    const float rstd = there ? rstds[number] : 1;
    Part<n> gradient[kParts<n>], xhat[kParts<n>];
    float dot = 0;  // of the gradient of xhat with it
    for (int k = 0; k < kParts<n>; ++k) {
      const int part = lane + k * lanes;
      if (part >= parts) break;
      gradient[k] = load_part<T>(dy + static_cast<std::int64_t>(number) * d, rotations, part);
      rotate(gradient[k], rotations, head.t, part, -1);
      xhat[k] = load_part<T>(x[head], rotations, part);
      const Part<n> w = load_part<T>(weight, rotations, part);
      for (int j = 0; j < n; ++j) {
        xhat[k].a[j] *= rstd, xhat[k].b[j] *= rstd;
        dweight[k].a[j] += gradient[k].a[j] * xhat[k].a[j];
        dweight[k].b[j] += gradient[k].b[j] * xhat[k].b[j];
        gradient[k].a[j] *= w.a[j], gradient[k].b[j] *= w.b[j];
        dot += gradient[k].a[j] * xhat[k].a[j] + gradient[k].b[j] * xhat[k].b[j];
      }
    }
    const float mean = lanes_sum(dot) / static_cast<float>(d);
    for (int k = 0; k < kParts<n>; ++k) {
      const int part = lane + k * lanes;
      if (part >= parts) break;
      for (int j = 0; j < n; ++j) {
        gradient[k].a[j] = rstd * (gradient[k].a[j] - xhat[k].a[j] * mean);
        gradient[k].b[j] = rstd * (gradient[k].b[j] - xhat[k].b[j] * mean);
      }
      store_part(dx[head], rotations, part, gradient[k]);
    }
  }
  auto* sums = reinterpret_cast<float*>(memory);  // [blockDim.y, d]
  for (int k = 0; k < kParts<n>; ++k) {
    const int part = lane + k * lanes;
    if (part >= rotations.parts()) break;
    store_part(sums + static_cast<int>(threadIdx.y) * d, rotations, part, dweight[k]);
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y) * lanes + lane; i < d; i += kThreads) {
    float sum = sums[i];
    for (int r = 1; r < static_cast<int>(blockDim.y); ++r) sum += sums[r * d + i];
    pieces[static_cast<std::int64_t>(blockIdx.x) * d + i] = sum;
  }
}

template <int n, class Op>
Rotations<n> rotations_of(const Op& op) {
  const std::int64_t half = op.cos.dim(1), still = op.x.dim(3) - 2 * half;
  return {op.cos.template as<float>(),
          op.sin.template as<float>(),
          op.positions.template as<std::int32_t>(),
          op.cos.dim(0),
          static_cast<int>(half / n),
          static_cast<int>(still / n)};
}

/// Calls fn.operator()<T, n>(heads, rotations).
template <class Op, class Fn>
void for_heads(const Op& op, std::initializer_list<ConstTensor> heads, Fn&& fn) {
  if (op.x.numel() == 0) return;
  const bool whole = op.cos.dim(1) % (16 / size_of(op.x.dtype())) == 0;
  const bool fits =
      whole && wide(heads) && wide({op.weight}) && aligned(op.cos.data()) && aligned(op.sin.data());
  for_vectors(op.x.dtype(), fits, [&]<class T, int n>() {
    fn.template operator()<T, n>(heads_in(op.x.shape()), rotations_of<n>(op));
  });
}

template <class Op>
void rotate_only(const Op& op, const Tensor& y, const ConstTensor& x, float sign,
                 cudaStream_t stream) {
  for_heads(op, {y, x}, [&]<class T, int n>(HeadCount heads, const Rotations<n>& rotations) {
    const Cover cover = cover_all(heads.all, rotations.parts());
    launch(rotate_heads<DeviceType<T>, n>, cover.grid, cover.block, 0, stream, heads_of<T>(y),
           heads_of<T>(x), heads, rotations, sign);
  });
}

}  // namespace

template <>
void cuda_kernel(const HeadNormRopeForward& op, Context&, cudaStream_t stream) {
  if (!op.weight) return rotate_only(op, op.y, op.x, 1, stream);
  for_heads(op, {op.x, op.y}, [&]<class T, int n>(HeadCount heads, const Rotations<n>& rotations) {
    const Cover cover = cover_rows(heads.all, rotations.parts());
    launch(head_norm_rope_forward<DeviceType<T>, n>, cover.grid, cover.block, 0, stream,
           device_pointer<T>(op.y), op.rstd.as<float>(), heads_of<T>(op.x),
           device_pointer<T>(op.weight), heads, rotations, op.eps);
  });
}

template <>
void cuda_kernel(const HeadNormRopeBackward& op, Context& ctx, cudaStream_t stream) {
  if (!op.weight) return rotate_only(op, op.dx, op.dy, -1, stream);
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = op.scratch(ctx);
  for_heads(op, {op.x, op.dx, op.dy},
            [&]<class T, int n>(HeadCount heads, const Rotations<n>& rotations) {
              const dim3 block = cover_rows(1, rotations.parts()).block;
              const std::size_t shared = block.y * static_cast<std::size_t>(op.x.dim(3)) * 4;
              launch(head_norm_rope_backward<DeviceType<T>, n>,
                     dim3(blocks_of(op.x.dim(0), kTokens)), block, shared, stream,
                     heads_of<T>(op.dx), pieces.as<float>(), device_pointer<T>(op.dy),
                     heads_of<T>(op.x), op.rstd.as<float>(), device_pointer<T>(op.weight), heads,
                     rotations);
            });
  sum_pieces(op.dweight, pieces, op.accumulate, stream);
}

}  // namespace hg
