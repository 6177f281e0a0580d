// CUDA bodies of ops/glu.h: a block for every row, one pass.
#include "ops/glu.h"

#include "ops/cuda/activation.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/vectors.h"

namespace hg {
namespace {

constexpr int kThreads = 256;

template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    swiglu_forward(T* __restrict__ y, const T* __restrict__ x, const float* __restrict__ weights,
                   const int* __restrict__ used, int vectors) {
  const std::int64_t row = blockIdx.x;
  if (used != nullptr && row >= *used) return;
  const float weight = weights != nullptr ? weights[row] : 1.0F;
  const T *gate = x + row * 2 * vectors * n, *up = gate + static_cast<std::int64_t>(vectors) * n;
  T* out = y + row * vectors * n;
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += static_cast<int>(blockDim.x)) {
    const auto a = load_vector<n>(gate, i), b = load_vector<n>(up, i);
    Elements<T, n> product;
    for (int j = 0; j < n; ++j) product.set(j, weight * (a[j] * sigmoid(a[j]) * b[j]));
    store_vector(out, i, product);
  }
}

template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    swiglu_backward(T* __restrict__ dx, float* __restrict__ dweights, const T* __restrict__ dy,
                    const T* __restrict__ x, const float* __restrict__ weights,
                    const int* __restrict__ used, int vectors) {
  HG_SHARED(float, partial, [kThreads / 32]);
  const std::int64_t row = blockIdx.x, f = static_cast<std::int64_t>(vectors) * n;
  if (used != nullptr && row >= *used) return;
  const float weight = weights != nullptr ? weights[row] : 1.0F;
  const T *gate = x + row * 2 * f, *up = gate + f, *gradient = dy + row * f;
  T *dgate = dx + row * 2 * f, *dup = dgate + f;
  float dot = 0;
  for (int i = static_cast<int>(threadIdx.x); i < vectors; i += static_cast<int>(blockDim.x)) {
    const auto a = load_vector<n>(gate, i), b = load_vector<n>(up, i),
               d = load_vector<n>(gradient, i);
    Elements<T, n> da, db;
    for (int j = 0; j < n; ++j) {
      const float s = sigmoid(a[j]), ds = d[j] * s, silu = ds * a[j];
      da.set(j, weight * (ds * b[j] * (1.0F + a[j] * (1.0F - s))));
      db.set(j, weight * silu);
      dot += silu * b[j];
    }
    store_vector(dgate, i, da);
    store_vector(dup, i, db);
  }
  if (dweights == nullptr) return;
  dot = row_sum(dot, partial);
  if (threadIdx.x == 0) dweights[row] = dot;
}

/// No more warps than have something to do.
dim3 threads_for(int vectors) {
  const int threads = (vectors + 31) / 32 * 32;
  return dim3(static_cast<unsigned>(threads < kThreads ? threads : kThreads));
}

}  // namespace

template <>
void cuda_kernel(const SwiGluForward& op, Context&, cudaStream_t stream) {
  if (op.y.numel() == 0) return;
  for_vectors(op.y.dtype(), wide({op.y, op.x}), [&]<class T, int n>() {
    const auto vectors = static_cast<int>(op.y.dim(1) / n);
    launch(swiglu_forward<DeviceType<T>, n>, dim3(static_cast<unsigned>(op.y.dim(0))),
           threads_for(vectors), 0, stream, device_pointer<T>(op.y), device_pointer<T>(op.x),
           device_pointer<float>(op.weights), op.used ? op.used.as<std::int32_t>() : nullptr,
           vectors);
  });
}

template <>
void cuda_kernel(const SwiGluBackward& op, Context&, cudaStream_t stream) {
  if (op.dy.numel() == 0) return;
  for_vectors(op.dy.dtype(), wide({op.dx, op.dy, op.x}), [&]<class T, int n>() {
    const auto vectors = static_cast<int>(op.dy.dim(1) / n);
    launch(swiglu_backward<DeviceType<T>, n>, dim3(static_cast<unsigned>(op.dy.dim(0))),
           threads_for(vectors), 0, stream, device_pointer<T>(op.dx), op.dweights.as<float>(),
           device_pointer<T>(op.dy), device_pointer<T>(op.x), device_pointer<float>(op.weights),
           op.used ? op.used.as<std::int32_t>() : nullptr, vectors);
  });
}

}  // namespace hg
