// CUDA bodies of ops/norm.h. A row's values are read from global memory once and wait in shared
// memory for their statistics; each thread reads there what it wrote itself.
#include "ops/norm.h"

#include <algorithm>

#include "ops/cuda/kernel.h"
#include "ops/cuda/pieces.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

constexpr int kThreads = 256;  // of a row
constexpr int kWarps = kThreads / 32;

/// One row a block. With `delta`, the sum is normalised, as it is rounded; else x.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    rms_norm_forward(T* __restrict__ y, T* __restrict__ sum, float* __restrict__ rstd,
                     const T* __restrict__ x, const T* __restrict__ delta,
                     const T* __restrict__ weight, int d, float eps) {
  using Vector = Elements<T, n>;
  HG_SHARED(float, partial, [kWarps]);
  HG_DYN_SHARED(memory);
  auto* row = reinterpret_cast<Vector*>(memory);
  const std::int64_t offset = static_cast<std::int64_t>(blockIdx.x) * d;
  const int vectors = d / n, thread = static_cast<int>(threadIdx.x);
  float squares = 0;
  for (int i = thread; i < vectors; i += kThreads) {
    Vector v = reinterpret_cast<const Vector*>(x + offset)[i];
    if (delta != nullptr) {
      const Vector other = reinterpret_cast<const Vector*>(delta + offset)[i];
      for (int j = 0; j < n; ++j) v.set(j, v[j] + other[j]);
      reinterpret_cast<Vector*>(sum + offset)[i] = v;
    }
    for (int j = 0; j < n; ++j) squares += v[j] * v[j];
    row[i] = v;
  }
  const float scale = 1.0F / sqrtf(row_sum(squares, partial) / static_cast<float>(d) + eps);
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
  for (int i = thread; i < vectors; i += kThreads) {
    Vector v = row[i];
    const Vector w = reinterpret_cast<const Vector*>(weight)[i];
    for (int j = 0; j < n; ++j) v.set(j, v[j] * scale * w[j]);
    reinterpret_cast<Vector*>(y + offset)[i] = v;
  }
}

/// A piece of rows a block, blockDim.y of them at a time, each with its own sums of dweight; these
/// are added in order at the end.
template <class T, int n>
__global__ void __launch_bounds__(1024)
    rms_norm_backward(T* dx, float* __restrict__ pieces, const T* dy, const T* __restrict__ x,
                      const float* __restrict__ rstd, const T* __restrict__ weight,
                      const T* dresidual, std::int64_t rows, int piece, int d) {
  using Vector = Elements<T, n>;
  HG_SHARED(float, partials, [2][1024 / 32]);
  HG_DYN_SHARED(memory);
  const int vectors = d / n, thread = static_cast<int>(threadIdx.x);
  const int lines = static_cast<int>(blockDim.y), line = static_cast<int>(threadIdx.y);
  auto* dweights = reinterpret_cast<float*>(memory);  // [blockDim.y, d]
  float* dweight = dweights + line * d;
  auto* values = reinterpret_cast<Vector*>(dweights + lines * d);  // [blockDim.y, 2, d]
  Vector *its_dy = values + line * 2 * vectors, *its_x = its_dy + vectors;
  for (int i = thread; i < vectors; i += kThreads)
    for (int j = 0; j < n; ++j) dweight[i * n + j] = 0;

  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * piece;
  for (int k = 0; k < piece; k += lines) {
    const std::int64_t t = begin + k + line;
    const bool there = t < rows;  // a row that is not has no values, but waits like the others
    const float scale = there ? rstd[t] : 0;
    float dot = 0;  // of dy weight and xhat
    for (int i = thread; there && i < vectors; i += kThreads) {
      const Vector g = reinterpret_cast<const Vector*>(dy + t * d)[i];
      const Vector v = reinterpret_cast<const Vector*>(x + t * d)[i];
      const Vector w = reinterpret_cast<const Vector*>(weight)[i];
      for (int j = 0; j < n; ++j) {
        const float xhat = v[j] * scale;
        dot += g[j] * w[j] * xhat;
        dweight[i * n + j] += g[j] * xhat;
      }
      its_dy[i] = g;
      its_x[i] = v;
    }
    // Two sets of partial sums by turns: a barrier lies between two uses of the same.
    const float mean = row_sum(dot, partials[k / lines % 2]) / static_cast<float>(d);
    for (int i = thread; there && i < vectors; i += kThreads) {
      const Vector g = its_dy[i], v = its_x[i], w = reinterpret_cast<const Vector*>(weight)[i];
      Vector out, past;
      if (dresidual != nullptr) past = reinterpret_cast<const Vector*>(dresidual + t * d)[i];
      for (int j = 0; j < n; ++j) {
        const float its = scale * (g[j] * w[j] - v[j] * scale * mean);
        out.set(j, dresidual != nullptr ? its + past[j] : its);
      }
      reinterpret_cast<Vector*>(dx + t * d)[i] = out;
    }
  }
  __syncthreads();
  for (int i = line * kThreads + thread; i < d; i += kThreads * lines) {
    float sum = dweights[i];
    for (int r = 1; r < lines; ++r) sum += dweights[r * d + i];
    pieces[static_cast<std::int64_t>(blockIdx.x) * d + i] = sum;
  }
}

template <class T, int n>
void forward(const Tensor& y, const Tensor& sum, const Tensor& rstd, const ConstTensor& x,
             const ConstTensor& delta, const ConstTensor& weight, float eps, cudaStream_t stream) {
  const std::int64_t d = x.dim(1);
  launch(rms_norm_forward<DeviceType<T>, n>, dim3(static_cast<unsigned>(x.dim(0))), dim3(kThreads),
         static_cast<std::size_t>(d) * sizeof(T), stream, device_pointer<T>(y),
         sum ? device_pointer<T>(sum) : nullptr, rstd.as<float>(), device_pointer<T>(x),
         device_pointer<T>(delta), device_pointer<T>(weight), static_cast<int>(d), eps);
}

/// Rows that a block of the backward works on at a time: as many as 64 KB have room for, up to 4.
template <class T>
unsigned rows_at_a_time(std::int64_t d) {
  const std::int64_t bytes = d * static_cast<std::int64_t>(sizeof(float) + 2 * sizeof(T));
  const std::int64_t fit = (64 << 10) / bytes;
  return fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
}

template <class T, int n>
void backward(const RmsNormBackward& op, const Tensor& pieces, cudaStream_t stream) {
  const std::int64_t d = op.x.dim(1);
  const unsigned rows = rows_at_a_time<T>(d);
  if (pieces.numel() > 0) {
    const std::int64_t piece = std::min(op.x.dim(0), RmsNormBackward::kRowsPerPiece);
    launch(
        rms_norm_backward<DeviceType<T>, n>, dim3(static_cast<unsigned>(pieces.dim(0))),
        dim3(kThreads, rows), rows * static_cast<std::size_t>(d) * (sizeof(float) + 2 * sizeof(T)),
        stream, device_pointer<T>(op.dx), pieces.as<float>(), device_pointer<T>(op.dy),
        device_pointer<T>(op.x), op.rstd.as<float>(), device_pointer<T>(op.weight),
        device_pointer<T>(op.dresidual), op.x.dim(0), static_cast<int>(piece), static_cast<int>(d));
  }
  sum_pieces(op.dweight, pieces, op.accumulate, stream);
}

/// Whether rows of `d` elements of `x` can be read 16 bytes at a time.
bool wide_rows(const ConstTensor& x, std::initializer_list<ConstTensor> others) {
  return x.dim(1) * size_of(x.dtype()) % 16 == 0 && aligned(x.data()) &&
         std::all_of(others.begin(), others.end(),
                     [](const ConstTensor& other) { return aligned(other.data()); });
}

}  // namespace

template <>
void cuda_kernel(const RmsNormForward& op, Context&, cudaStream_t stream) {
  if (op.x.numel() == 0) return;
  for_vectors(op.x.dtype(), wide_rows(op.x, {op.y, op.weight}), [&]<class T, int n>() {
    forward<T, n>(op.y, {}, op.rstd, op.x, {}, op.weight, op.eps, stream);
  });
}

template <>
void cuda_kernel(const AddRmsNormForward& op, Context&, cudaStream_t stream) {
  if (op.x.numel() == 0) return;
  const bool wide = wide_rows(op.x, {op.y, op.sum, op.delta, op.weight});
  for_vectors(op.x.dtype(), wide, [&]<class T, int n>() {
    forward<T, n>(op.y, op.sum, op.rstd, op.x, op.delta, op.weight, op.eps, stream);
  });
}

template <>
void cuda_kernel(const RmsNormBackward& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = op.scratch(ctx);
  const bool wide = wide_rows(op.x, {op.dx, op.dy, op.weight, op.dresidual});
  for_vectors(op.x.dtype(), wide, [&]<class T, int n>() { backward<T, n>(op, pieces, stream); });
}

}  // namespace hg
