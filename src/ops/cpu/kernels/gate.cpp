// CPU bodies of ops/gate.h: one pass over each head. Elementwise code is made once for each
// activation and mode; a headwise gate is one score in all lanes.
#include "ops/gate.h"

#include "ops/cpu/dtypes.h"
#include "ops/cpu/heads.h"
#include "ops/cpu/kernels/activation.h"

namespace hg {
namespace {

template <GateMode kMode>
HG_INLINE F32 gated(F32 x, F32 s) {
  return kMode == GateMode::multiplicative ? x * s : x + s;
}

template <class T, Activation kActivation, GateMode kMode>
void forward_elementwise(const GateForward& op) {
  const Heads<const T> x(op.x), logits(op.logits);
  const Heads<T> y(op.y);
  const float scale = op.function.scale;
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = x.at(t, j, g), *logit = logits.at(t, j, g);
    T* out = y.at(t, j, g);
    for_lanes(op.x.dim(3), [&](std::int64_t i, auto lanes) {
      const F32 s = scale * activate<kActivation>(load(logit + i, lanes));
      store(out + i, gated<kMode>(load(in + i, lanes), s), lanes);
    });
  });
}

template <class T, Activation kActivation, GateMode kMode>
void forward_headwise(const GateForward& op) {
  const Heads<const T> x(op.x), logits(op.logits);
  const Heads<T> y(op.y);
  const float scale = op.function.scale;
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T* in = x.at(t, j, g);
    T* out = y.at(t, j, g);
    const F32 s = scale * activate<kActivation>(splat(static_cast<float>(*logits.at(t, j, g))));
    for_lanes(op.x.dim(3), [&](std::int64_t i, auto lanes) {
      store(out + i, gated<kMode>(load(in + i, lanes), s), lanes);
    });
  });
}

/// kSelf: x itself is the logit, and its gradient joins dx.
template <class T, Activation kActivation, GateMode kMode, bool kSelf>
void backward_elementwise(const GateBackward& op) {
  constexpr bool kProduct = kMode == GateMode::multiplicative;
  const Heads<const T> x(op.x), dy(op.dy), logits(kSelf ? op.x : op.logits);
  const Heads<T> dx(op.dx), dlogits(kSelf ? op.dx : op.dlogits);
  const float scale = op.function.scale;
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = x.at(t, j, g), *gradient = dy.at(t, j, g), *logit = logits.at(t, j, g);
    T *din = dx.at(t, j, g), *dlogit = dlogits.at(t, j, g);
    for_lanes(op.x.dim(3), [&](std::int64_t i, auto lanes) {
      const auto [s, slope] = activate_with_slope<kActivation>(load(logit + i, lanes));
      const F32 d = load(gradient + i, lanes), from = load(in + i, lanes);
      const F32 direct = kProduct ? d * (scale * s) : d;
      const F32 through = scale * slope * (kProduct ? d * from : d);
      if constexpr (kSelf) {
        store(din + i, direct + through, lanes);
      } else {
        store(din + i, direct, lanes);
        store(dlogit + i, through, lanes);
      }
    });
  });
}

template <class T, Activation kActivation, GateMode kMode>
void backward_headwise(const GateBackward& op) {
  constexpr bool kProduct = kMode == GateMode::multiplicative;
  const Heads<const T> x(op.x), dy(op.dy), logits(op.logits);
  const Heads<T> dx(op.dx), dlogits(op.dlogits);
  const float scale = op.function.scale;
  parallel_heads(op.x.shape(), [&](std::int64_t t, std::int64_t j, std::int64_t g) {
    const T *in = x.at(t, j, g), *gradient = dy.at(t, j, g);
    T* din = dx.at(t, j, g);
    const auto [value, slope] =
        activate_with_slope<kActivation>(splat(static_cast<float>(*logits.at(t, j, g))));
    const F32 s = scale * value;
    F32 ds{};
    for_lanes(op.x.dim(3), [&](std::int64_t i, auto lanes) {
      const F32 d = load(gradient + i, lanes);
      ds += kProduct ? d * load(in + i, lanes) : d;
      store(din + i, kProduct ? d * s : d, lanes);
    });
    *dlogits.at(t, j, g) = static_cast<T>(reduce_add(ds) * scale * slope[0]);
  });
}

/// Calls fn<T>(activation, mode) with both as types.
template <class Fn>
void for_function(DType dtype, const GateFunction& function, Fn&& fn) {
  for_float_type(dtype, [&]<class T>() {
    for_activation(function.activation, [&](auto activation) {
      if (function.mode == GateMode::multiplicative) {
        fn.template operator()<T, activation.value, GateMode::multiplicative>();
      } else {
        fn.template operator()<T, activation.value, GateMode::additive>();
      }
    });
  });
}

template <class... Operand>
bool all_touch(const Operand&... operands) {
  return (heads_touch(operands) && ...);
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const GateForward& op, Context&) {
  for_function(op.x.dtype(), op.function, [&]<class T, Activation kActivation, GateMode kMode>() {
    if (op.logits && op.logits.dim(3) < op.x.dim(3))
      return forward_headwise<T, kActivation, kMode>(op);
    GateForward whole = op;
    if (!whole.logits) whole.logits = op.x;
    if (all_touch(op.x, op.y, whole.logits)) {
      whole.y = join_heads(op.y);
      whole.x = join_heads(op.x);
      whole.logits = join_heads(whole.logits);
    }
    forward_elementwise<T, kActivation, kMode>(whole);
  });
}

template <>
void cpu_kernel<kIsa>(const GateBackward& op, Context&) {
  for_function(op.x.dtype(), op.function, [&]<class T, Activation kActivation, GateMode kMode>() {
    if (!op.logits) return backward_elementwise<T, kActivation, kMode, true>(op);
    if (op.logits.dim(3) < op.x.dim(3)) return backward_headwise<T, kActivation, kMode>(op);
    GateBackward whole = op;
    if (all_touch(op.x, op.dx, op.dy, op.logits, op.dlogits)) {
      whole.dx = join_heads(op.dx);
      whole.dlogits = join_heads(op.dlogits);
      whole.dy = join_heads(op.dy);
      whole.x = join_heads(op.x);
      whole.logits = join_heads(op.logits);
    }
    backward_elementwise<T, kActivation, kMode, false>(whole);
  });
}

}  // namespace hg
