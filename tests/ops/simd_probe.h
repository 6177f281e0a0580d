// Functions of ops/cpu/simd.h, callable from tests: simd_probe.cpp is compiled once per instruction
// set, as kernels are.
#pragma once

#include <span>

#include "core/cpu_info.h"
#include "core/dtype.h"

namespace hg::test {

template <Isa isa>
struct SimdProbe {
  /// Elementwise; both spans have the same length.
  static void exp(std::span<const float> x, std::span<float> y);
  static void sigmoid(std::span<const float> x, std::span<float> y);
  static void sqrt(std::span<const float> x, std::span<float> y);
  static void round(std::span<const float> x, std::span<bf16> y);
  static void widen(std::span<const bf16> x, std::span<float> y);
  /// Over one vector from the start of `x`, 16 elements or 8.
  static float reduce_add(std::span<const float> x);
  static float reduce_max(std::span<const float> x);
  static int lanes();
};

}  // namespace hg::test
