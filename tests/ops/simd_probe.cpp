// See simd_probe.h. No GoogleTest here: its inline functions must not be compiled for AVX-512.
#include "ops/simd_probe.h"

#include "ops/cpu/simd.h"

namespace hg::test {
namespace {

template <class From, class To, class Fn>
void map(std::span<const From> x, std::span<To> y, Fn fn) {
  for_lanes(static_cast<std::int64_t>(x.size()), [&](std::int64_t i, auto lanes) {
    store(y.data() + i, fn(load(x.data() + i, lanes)), lanes);
  });
}

}  // namespace

template <>
void SimdProbe<kIsa>::exp(std::span<const float> x, std::span<float> y) {
  map(x, y, [](F32 v) { return hg::exp(v); });
}
template <>
void SimdProbe<kIsa>::sigmoid(std::span<const float> x, std::span<float> y) {
  map(x, y, [](F32 v) { return hg::sigmoid(v); });
}
template <>
void SimdProbe<kIsa>::sqrt(std::span<const float> x, std::span<float> y) {
  map(x, y, [](F32 v) -> F32 { return hg::sqrt(v); });
}
template <>
void SimdProbe<kIsa>::round(std::span<const float> x, std::span<bf16> y) {
  map(x, y, [](F32 v) { return v; });
}
template <>
void SimdProbe<kIsa>::widen(std::span<const bf16> x, std::span<float> y) {
  map(x, y, [](F32 v) { return v; });
}
template <>
float SimdProbe<kIsa>::reduce_add(std::span<const float> x) {
  return hg::reduce_add(load(x.data()));
}
template <>
float SimdProbe<kIsa>::reduce_max(std::span<const float> x) {
  return hg::reduce_max(load(x.data()));
}
template <>
int SimdProbe<kIsa>::lanes() {
  return static_cast<int>(kLanes);
}

}  // namespace hg::test
