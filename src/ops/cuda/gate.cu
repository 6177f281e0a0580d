// CUDA bodies of ops/gate.h: up to a warp for every head, one pass.
#include "ops/gate.h"

#include "ops/cuda/activation.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

/// What gates a head: a logit for each of its elements, one for all of them, or its own elements.
enum class Granularity { element, head, self };

template <class T, int n, Granularity granularity>
__global__ void __launch_bounds__(kCoverThreads)
    gate_forward(Heads<T> y, Heads<const T> x, Heads<const T> logits, HeadCount heads, int vectors,
                 GateFunction function) {
  const unsigned number = cover_row();
  if (number >= heads.all) return;
  const Head head = heads[number];
  const bool product = function.mode == GateMode::multiplicative;
  float s = 0;
  if (granularity == Granularity::head)
    s = function.scale * activate(function.activation, to_f32(logits[head][0]));
  for (int i = cover_column(); i < vectors; i += static_cast<int>(blockDim.x)) {
    const auto in = load_vector<n>(x[head], i);
    Elements<T, n> logit = in, out;
    if (granularity == Granularity::element) logit = load_vector<n>(logits[head], i);
    for (int j = 0; j < n; ++j) {
      if (granularity != Granularity::head)
        s = function.scale * activate(function.activation, logit[j]);
      out.set(j, product ? in[j] * s : in[j] + s);
    }
    store_vector(y[head], i, out);
  }
}

/// The lanes of a head sum the gradient of its logit, if it has one.
template <class T, int n, Granularity granularity>
__global__ void __launch_bounds__(kCoverThreads)
    gate_backward(Heads<T> dx, Heads<T> dlogits, Heads<const T> dy, Heads<const T> x,
                  Heads<const T> logits, HeadCount heads, int vectors, GateFunction function) {
  const unsigned number = cover_row();
  const bool there = number < heads.all;  // a head that is not has no values, but sums like others
  const Head head = heads[there ? number : 0];
  const bool product = function.mode == GateMode::multiplicative;
  ValueAndSlope gate{};
  if (granularity == Granularity::head)
    gate = activate_with_slope(function.activation, to_f32(logits[head][0]));
  float ds = 0;
  for (int i = cover_column(); there && i < vectors; i += static_cast<int>(blockDim.x)) {
    const auto d = load_vector<n>(dy[head], i), in = load_vector<n>(x[head], i);
    Elements<T, n> logit = in, direct, through;
    if (granularity == Granularity::element) logit = load_vector<n>(logits[head], i);
    for (int j = 0; j < n; ++j) {
      if (granularity != Granularity::head)
        gate = activate_with_slope(function.activation, logit[j]);
      const float its = product ? d[j] * (function.scale * gate.value) : d[j];
      const float of_score = product ? d[j] * in[j] : d[j];
      const float of_logit = function.scale * gate.slope * of_score;
      direct.set(j, granularity == Granularity::self ? its + of_logit : its);
      if (granularity == Granularity::element) through.set(j, of_logit);
      ds += of_score;
    }
    store_vector(dx[head], i, direct);
    if (granularity == Granularity::element) store_vector(dlogits[head], i, through);
  }
  if (granularity != Granularity::head) return;
  ds = lanes_sum(ds);
  if (there && threadIdx.x == 0) dlogits[head][0] = from_f32<T>(ds * function.scale * gate.slope);
}

/// Calls fn.operator()<T, n, granularity>(cover, heads, vectors).
template <class Fn>
void for_granularity(const ConstTensor& x, const ConstTensor& logits,
                     std::initializer_list<ConstTensor> others, Fn&& fn) {
  if (x.numel() == 0) return;
  const bool headwise = logits && logits.dim(3) < x.dim(3);
  const bool fits = wide({x}) && wide(others) && (headwise || wide({logits}));
  for_vectors(x.dtype(), fits, [&]<class T, int n>() {
    const auto vectors = static_cast<int>(x.dim(3) / n);
    const HeadCount heads = heads_in(x.shape());
    const Cover cover = cover_rows(heads.all, vectors);
    if (!logits) return fn.template operator()<T, n, Granularity::self>(cover, heads, vectors);
    if (headwise) return fn.template operator()<T, n, Granularity::head>(cover, heads, vectors);
    fn.template operator()<T, n, Granularity::element>(cover, heads, vectors);
  });
}

/// What a kernel gets for an operand that may be absent.
template <class T, class Void>
auto heads_or_none(const BasicTensor<Void>& tensor) {
  return tensor ? heads_of<T>(tensor) : decltype(heads_of<T>(tensor)){};
}

}  // namespace

template <>
void cuda_kernel(const GateForward& op, Context&, cudaStream_t stream) {
  for_granularity(op.x, op.logits, {op.y},
                  [&]<class T, int n, Granularity granularity>(const Cover& cover, HeadCount heads,
                                                               int vectors) {
                    launch(gate_forward<DeviceType<T>, n, granularity>, cover.grid, cover.block, 0,
                           stream, heads_of<T>(op.y), heads_of<T>(op.x),
                           heads_or_none<T>(op.logits), heads, vectors, op.function);
                  });
}

template <>
void cuda_kernel(const GateBackward& op, Context&, cudaStream_t stream) {
  const bool headwise = op.logits && op.logits.dim(3) < op.x.dim(3);
  const ConstTensor beside = headwise ? ConstTensor() : op.dlogits;
  for_granularity(op.x, op.logits, {op.dx, op.dy, beside},
                  [&]<class T, int n, Granularity granularity>(const Cover& cover, HeadCount heads,
                                                               int vectors) {
                    launch(gate_backward<DeviceType<T>, n, granularity>, cover.grid, cover.block, 0,
                           stream, heads_of<T>(op.dx), heads_or_none<T>(op.dlogits),
                           heads_of<T>(op.dy), heads_of<T>(op.x), heads_or_none<T>(op.logits),
                           heads, vectors, op.function);
                  });
}

}  // namespace hg
