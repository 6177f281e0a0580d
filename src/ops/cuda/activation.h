// Activations of gates, and their slopes. Which one is the same for a whole launch: choosing it at
// run time costs no divergence. Only for .cu files.
#pragma once

#include "cuda/device.h"
#include "ops/gate.h"

namespace hg {
namespace {

HG_DEVICE float sigmoid(float x) { return 1.0F / (1.0F + expf(-x)); }

HG_DEVICE float activate(Activation activation, float z) {
  if (activation == Activation::identity) return z;
  const float s = sigmoid(z);
  if (activation == Activation::silu) return z * s;
  return activation == Activation::sigmoid ? s : 0.5F + 0.5F * s;
}

struct ValueAndSlope {
  float value, slope;
};
HG_DEVICE ValueAndSlope activate_with_slope(Activation activation, float z) {
  if (activation == Activation::identity) return {z, 1.0F};
  const float s = sigmoid(z), ds = s * (1.0F - s);
  if (activation == Activation::silu) return {z * s, s + z * ds};
  if (activation == Activation::sigmoid) return {s, ds};
  return {0.5F + 0.5F * s, 0.5F * ds};
}

}  // namespace
}  // namespace hg
