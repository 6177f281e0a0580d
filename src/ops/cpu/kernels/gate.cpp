// CPU bodies of ops/gate.h: one pass over each head. A headwise gate is one sigmoid in all lanes.
#include "ops/gate.h"

#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

template <class T>
void forward_elementwise(const GateForward& op) {
  const Heads<const T> o(op.o), logits(op.logits);
  const Heads<T> y(op.y);
  parallel_heads(op.o.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = o.at(t, j, g), *logit = logits.at(t, j, g);
    T* out = y.at(t, j, g);
    for_lanes(op.o.dim(3), [&](std::int64_t i, auto lanes) {
      store(out + i, load(in + i, lanes) * sigmoid(load(logit + i, lanes)), lanes);
    });
  });
}

template <class T>
void forward_headwise(const GateForward& op) {
  const Heads<const T> o(op.o), logits(op.logits);
  const Heads<T> y(op.y);
  parallel_heads(op.o.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T* in = o.at(t, j, g);
    T* out = y.at(t, j, g);
    const F32 s = sigmoid(splat(static_cast<float>(*logits.at(t, j, g))));
    for_lanes(op.o.dim(3),
              [&](std::int64_t i, auto lanes) { store(out + i, load(in + i, lanes) * s, lanes); });
  });
}

template <class T>
void backward_elementwise(const GateBackward& op) {
  const Heads<const T> o(op.o), dy(op.dy), logits(op.logits);
  const Heads<T> d_o(op.d_o), dlogits(op.dlogits);
  parallel_heads(op.o.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = o.at(t, j, g), *gradient = dy.at(t, j, g), *logit = logits.at(t, j, g);
    T *din = d_o.at(t, j, g), *dlogit = dlogits.at(t, j, g);
    for_lanes(op.o.dim(3), [&](std::int64_t i, auto lanes) {
      const F32 s = sigmoid(load(logit + i, lanes)), ds = load(gradient + i, lanes) * s;
      store(din + i, ds, lanes);
      store(dlogit + i, ds * load(in + i, lanes) * (1.0F - s), lanes);
    });
  });
}

template <class T>
void backward_headwise(const GateBackward& op) {
  const Heads<const T> o(op.o), dy(op.dy), logits(op.logits);
  const Heads<T> d_o(op.d_o), dlogits(op.dlogits);
  parallel_heads(op.o.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = o.at(t, j, g), *gradient = dy.at(t, j, g);
    T* din = d_o.at(t, j, g);
    const F32 s = sigmoid(splat(static_cast<float>(*logits.at(t, j, g))));
    F32 dot{};  // of dy and y
    for_lanes(op.o.dim(3), [&](std::int64_t i, auto lanes) {
      const F32 ds = load(gradient + i, lanes) * s;
      store(din + i, ds, lanes);
      dot += ds * load(in + i, lanes);
    });
    *dlogits.at(t, j, g) = static_cast<T>(reduce_add(dot) * (1.0F - s[0]));
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const GateForward& op, Context&) {
  const GateForward joined{
      .y = join_heads(op.y), .o = join_heads(op.o), .logits = join_heads(op.logits)};
  for_float_type(op.o.dtype(), [&]<class T>() {
    if (op.logits.dim(3) == 1) return forward_headwise<T>(op);
    forward_elementwise<T>(heads_touch(op.logits) ? joined : op);
  });
}

template <>
void cpu_kernel<kIsa>(const GateBackward& op, Context&) {
  const GateBackward joined{.d_o = join_heads(op.d_o),
                            .dlogits = join_heads(op.dlogits),
                            .dy = join_heads(op.dy),
                            .o = join_heads(op.o),
                            .logits = join_heads(op.logits)};
  const bool touch = heads_touch(op.logits) && heads_touch(op.dlogits);
  for_float_type(op.o.dtype(), [&]<class T>() {
    if (op.logits.dim(3) == 1) return backward_headwise<T>(op);
    backward_elementwise<T>(touch ? joined : op);
  });
}

}  // namespace hg
