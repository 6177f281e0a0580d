// Activations of gate logits, and their slopes. Only for files in ops/cpu/kernels.
#pragma once

#include "ops/cpu/simd.h"
#include "ops/gate.h"

namespace hg {
namespace {

struct ValueAndSlope {
  F32 value, slope;
};

template <Activation kActivation>
HG_INLINE F32 activate(F32 z) {
  if constexpr (kActivation == Activation::sigmoid) return sigmoid(z);
  if constexpr (kActivation == Activation::silu) return z * sigmoid(z);
  if constexpr (kActivation == Activation::ns_sigmoid) return 0.5F + 0.5F * sigmoid(z);
  return z;
}

/// The same, chosen at run time: for code that is not worth making four times.
HG_INLINE F32 activate(Activation activation, F32 z) {
  switch (activation) {
    case Activation::sigmoid:
      return activate<Activation::sigmoid>(z);
    case Activation::silu:
      return activate<Activation::silu>(z);
    case Activation::ns_sigmoid:
      return activate<Activation::ns_sigmoid>(z);
    case Activation::identity:
      return z;
  }
  return z;
}

template <Activation kActivation>
HG_INLINE ValueAndSlope activate_with_slope(F32 z) {
  if constexpr (kActivation == Activation::identity) return {z, splat(1.0F)};
  const F32 s = sigmoid(z), ds = s * (1.0F - s);
  if constexpr (kActivation == Activation::sigmoid) return {s, ds};
  if constexpr (kActivation == Activation::silu) return {z * s, s + z * ds};
  return {0.5F + 0.5F * s, 0.5F * ds};
}

template <Activation kActivation>
using ActivationConstant = std::integral_constant<Activation, kActivation>;

/// Calls fn with the activation as a type, for code that is made once for each.
template <class Fn>
void for_activation(Activation activation, Fn&& fn) {
  switch (activation) {
    case Activation::sigmoid:
      return fn(ActivationConstant<Activation::sigmoid>{});
    case Activation::silu:
      return fn(ActivationConstant<Activation::silu>{});
    case Activation::ns_sigmoid:
      return fn(ActivationConstant<Activation::ns_sigmoid>{});
    case Activation::identity:
      return fn(ActivationConstant<Activation::identity>{});
  }
}

}  // namespace
}  // namespace hg
