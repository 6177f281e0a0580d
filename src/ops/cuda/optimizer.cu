// CUDA bodies of ops/optimizer.h: one pass over flat memory each, four elements a thread.
#include "ops/optimizer.h"

#include <cmath>

#include "ops/cuda/kernel.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

constexpr int kThreads = 256;

/// What AdamW multiplies with, from the op's f64.
struct Rates {
  float beta1, rest1, beta2, rest2, rate, decay, root, eps, gradient;
};

HG_DEVICE std::int64_t thread_of_grid() {
  return static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
}

template <int n>
__global__ void __launch_bounds__(kThreads)
    adamw(float* __restrict__ master, float* __restrict__ first, float* __restrict__ second,
          __nv_bfloat16* __restrict__ working, const float* __restrict__ gradient,
          std::int64_t vectors, Rates rates) {
  using Vector = Elements<float, n>;
  const std::int64_t i = thread_of_grid();
  if (i >= vectors) return;
  Vector w = reinterpret_cast<const Vector*>(master)[i];
  Vector m = reinterpret_cast<const Vector*>(first)[i];
  Vector v = reinterpret_cast<const Vector*>(second)[i];
  const Vector gradients = reinterpret_cast<const Vector*>(gradient)[i];
  Elements<__nv_bfloat16, n> rounded;
  for (int j = 0; j < n; ++j) {
    const float g = gradients[j] * rates.gradient;
    m.set(j, rates.beta1 * m[j] + rates.rest1 * g);
    v.set(j, rates.beta2 * v[j] + rates.rest2 * g * g);
    w.set(j,
          w[j] - (rates.decay * w[j] + rates.rate * m[j] / (sqrtf(v[j]) * rates.root + rates.eps)));
    rounded.set(j, w[j]);
  }
  reinterpret_cast<Vector*>(first)[i] = m;
  reinterpret_cast<Vector*>(second)[i] = v;
  reinterpret_cast<Vector*>(master)[i] = w;
  if (working != nullptr) reinterpret_cast<Elements<__nv_bfloat16, n>*>(working)[i] = rounded;
}

template <class To, class From, int n>
__global__ void __launch_bounds__(kThreads)
    cast(To* __restrict__ y, const From* __restrict__ x, std::int64_t vectors) {
  const std::int64_t i = thread_of_grid();
  if (i >= vectors) return;
  const auto from = reinterpret_cast<const Elements<From, n>*>(x)[i];
  Elements<To, n> to;
  for (int j = 0; j < n; ++j) to.set(j, from[j]);
  reinterpret_cast<Elements<To, n>*>(y)[i] = to;
}

/// The sum over the block, in the thread 0 at least.
HG_DEVICE double block_sum(double x) {
  HG_SHARED(double, partial, [kThreads / 32]);
  return row_sum(x, partial);
}

/// A piece of x a block; what its last vector would go beyond is added one by one.
template <int n>
__global__ void __launch_bounds__(kThreads)
    square_pieces(double* __restrict__ pieces, const float* __restrict__ x, std::int64_t count,
                  std::int64_t piece) {
  using Vector = Elements<float, n>;
  const std::int64_t begin = blockIdx.x * piece;
  const std::int64_t end = begin + piece < count ? begin + piece : count;
  double sum = 0;
  std::int64_t i = begin + threadIdx.x * n;
  for (; i + n <= end; i += kThreads * n) {
    const Vector v = *reinterpret_cast<const Vector*>(x + i);
    for (int j = 0; j < n; ++j) sum += static_cast<double>(v[j]) * static_cast<double>(v[j]);
  }
  for (; i < end; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) pieces[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kThreads)
    add_pieces(float* __restrict__ out, const double* __restrict__ pieces, int count) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) sum += pieces[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) out[0] = static_cast<float>(sum);
}

/// Calls fn.operator()<n>(begin, vectors) for parts of [0, count): vectors of 4 elements where
/// `wide`, and what is left one by one.
template <class Fn>
void in_vectors(std::int64_t count, bool wide, Fn&& fn) {
  const std::int64_t vectors = wide ? count / 4 : 0, rest = count - vectors * 4;
  if (vectors > 0) fn.template operator()<4>(std::int64_t{0}, vectors);
  if (rest > 0) fn.template operator()<1>(vectors * 4, rest);
}

dim3 blocks_for(std::int64_t threads) {
  return {static_cast<unsigned>((threads + kThreads - 1) / kThreads)};
}

template <class To, class From>
void cast(const Cast& op, cudaStream_t stream) {
  auto* y = device_pointer<To>(op.y);
  const auto* x = device_pointer<From>(op.x);
  in_vectors(op.x.numel(), aligned(y) && aligned(x),
             [&]<int n>(std::int64_t begin, std::int64_t vectors) {
               launch(cast<DeviceType<To>, DeviceType<From>, n>, blocks_for(vectors),
                      dim3(kThreads), 0, stream, y + begin, x + begin, vectors);
             });
}

}  // namespace

template <>
void cuda_kernel(const AdamW& op, Context&, cudaStream_t stream) {
  const double c1 = 1 - std::pow(op.beta1, static_cast<double>(op.step));
  const double c2 = 1 - std::pow(op.beta2, static_cast<double>(op.step));
  const Rates rates{
      .beta1 = static_cast<float>(op.beta1),
      .rest1 = static_cast<float>(1 - op.beta1),
      .beta2 = static_cast<float>(op.beta2),
      .rest2 = static_cast<float>(1 - op.beta2),
      .rate = static_cast<float>(op.lr / c1),
      .decay = static_cast<float>(op.lr * op.weight_decay),
      .root = static_cast<float>(1 / std::sqrt(c2)),
      .eps = static_cast<float>(op.eps),
      .gradient = op.gradient_scale,
  };
  auto *master = op.master.as<float>(), *m = op.m.as<float>(), *v = op.v.as<float>();
  const auto* gradient = op.gradient.as<float>();
  auto* working = op.working ? device_pointer<bf16>(op.working) : nullptr;
  const bool wide =
      aligned(master) && aligned(m) && aligned(v) && aligned(gradient) && aligned(working);
  in_vectors(op.master.numel(), wide, [&]<int n>(std::int64_t begin, std::int64_t vectors) {
    launch(adamw<n>, blocks_for(vectors), dim3(kThreads), 0, stream, master + begin, m + begin,
           v + begin, working != nullptr ? working + begin : nullptr, gradient + begin, vectors,
           rates);
  });
}

template <>
void cuda_kernel(const SumOfSquares& op, Context& ctx, cudaStream_t stream) {
  constexpr std::int64_t kPieces = SumOfSquares::kPieces, kLeast = kThreads * 4;
  const ArenaScope scope(ctx.scratch);
  auto* pieces = static_cast<double*>(op.scratch(ctx).data());
  const auto* x = op.x.as<float>();
  const std::int64_t n = op.x.numel();
  const std::int64_t piece = ((n + kPieces - 1) / kPieces + kLeast - 1) / kLeast * kLeast;
  const std::int64_t count = n > 0 ? (n + piece - 1) / piece : 0;
  if (count > 0) {
    launch(aligned(x) ? square_pieces<4> : square_pieces<1>, dim3(static_cast<unsigned>(count)),
           dim3(kThreads), 0, stream, pieces, x, n, piece);
  }
  launch(add_pieces, dim3(1), dim3(kThreads), 0, stream, op.out.as<float>(), pieces,
         static_cast<int>(count));
}

template <>
void cuda_kernel(const Cast& op, Context&, cudaStream_t stream) {
  const bool to_f32 = op.y.dtype() == DType::f32, from_f32 = op.x.dtype() == DType::f32;
  if (to_f32) return from_f32 ? cast<float, float>(op, stream) : cast<float, bf16>(op, stream);
  return from_f32 ? cast<bf16, float>(op, stream) : cast<bf16, bf16>(op, stream);
}

}  // namespace hg
