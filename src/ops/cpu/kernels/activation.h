// The activations of gates on vectors. Only for files in ops/cpu/kernels.
#pragma once

#include "ops/cpu/simd.h"
#include "ops/gate.h"

namespace hg {
namespace {

/// NaN stays NaN.
HG_INLINE F32 activate(Activation activation, F32 x) {
  switch (activation) {
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::ns_sigmoid:
      return 0.5F + 0.5F * sigmoid(x);
    case Activation::identity:
      return x;
  }
  return x;
}

}  // namespace
}  // namespace hg
