// CUDA bodies of ops/elementwise.h: a thread for every vector of a row.
#include "ops/elementwise.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/rows.h"
#include "ops/cuda/zero.h"

namespace hg {
namespace {

struct Sum {
  HG_DEVICE float operator()(float a, float b) const { return a + b; }
};
struct Clip {
  float limit;
  HG_DEVICE float operator()(float x) const {
    return x > limit ? limit : x < -limit ? -limit : x;  // NaN is neither
  }
};
struct WhereInside {
  float limit;
  HG_DEVICE float operator()(float dy, float y) const {
    return y < limit && y > -limit ? dy : 0.0F;
  }
};

template <class T, int n, class Fn, class... Vectors>
HG_DEVICE Elements<T, n> apply(const Fn& fn, const Vectors&... x) {
  Elements<T, n> result;
  for (int j = 0; j < n; ++j) result.set(j, fn(x[j]...));
  return result;
}

/// y = fn(x...), element by element; y may be any of them.
template <class T, int n, class Fn, class... X>
__global__ void __launch_bounds__(kCoverThreads)
    map(Rows<T> y, std::int64_t rows, int vectors, Fn fn, X... x) {
  const std::int64_t row = cover_row();
  const int i = cover_column();
  if (row >= rows || i >= vectors) return;
  store_vector(y[row], i, apply<T, n>(fn, load_vector<n>(x[row], i)...));
}

template <class Fn, std::same_as<ConstTensor>... Operand>
void map(const Tensor& y, cudaStream_t stream, Fn fn, const Operand&... x) {
  if (y.numel() == 0) return;
  for_vectors(y.dtype(), wide({y, x...}), [&]<class T, int n>() {
    const auto vectors = static_cast<int>(y.dim(1) / n);
    const Cover cover = cover_all(y.dim(0), vectors);
    launch(map<DeviceType<T>, n, Fn, decltype(rows_of<T>(x))...>, cover.grid, cover.block, 0,
           stream, rows_of<T>(y), y.dim(0), vectors, fn, rows_of<T>(x)...);
  });
}

/// Values clipped to a limit and stored must compare equal to it.
float rounded(float limit, DType dtype) {
  return dtype == DType::f32 ? limit : static_cast<float>(bf16(limit));
}

}  // namespace

template <>
void cuda_kernel(const Add& op, Context&, cudaStream_t stream) {
  map(op.y, stream, Sum{}, op.base ? op.base : ConstTensor(op.y), op.x);
}

template <>
void cuda_kernel(const ClipForward& op, Context&, cudaStream_t stream) {
  map(op.y, stream, Clip{rounded(op.limit, op.y.dtype())}, op.x);
}

template <>
void cuda_kernel(const ClipBackward& op, Context&, cudaStream_t stream) {
  map(op.dx, stream, WhereInside{rounded(op.limit, op.y.dtype())}, op.dy, op.y);
}

template <>
void cuda_kernel(const Zero& op, Context&, cudaStream_t stream) {
  zero(op.y, stream);
}

}  // namespace hg
