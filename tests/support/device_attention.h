// An attention to test, on a simulated device: its operands copied there, and the results back.
#pragma once

#include "cuda_sim/kernel.h"
#include "ops/cuda/kernel.h"
#include "support/attention_part.h"
#include "support/device_tensors.h"

namespace hg::test {

/// A context whose scratch is for CUDA bodies.
inline std::unique_ptr<Context> device_context() {
  auto ctx = cpu_context(Isa::avx2);
  ctx->device = Device::cuda;
  return ctx;
}

/// schedules(); one where kernels are interpreted, and under the race check, which finds the same
/// in any order: those take their time.
inline std::vector<cuda_sim::Options> attention_schedules() {
  auto all = schedules();
  if (cuda_sim::observer().access != nullptr || cuda_sim::translate() != nullptr) all.resize(1);
  return all;
}

/// Keys and values, or their gradients, as heads of one buffer [T, 2 KV, 1, D], which may have odd
/// rows at an odd address.
struct DeviceKeyValues {
  Tensor both, k, v;

  /// `both` is [T, 2 KV, 1, row], of which `d` elements belong to a head.
  DeviceKeyValues(const Tensor& buffer, std::int64_t d) : both(buffer) {
    const std::int64_t kv = both.dim(1) / 2;
    k = both.slice(1, 0, kv).slice(3, 0, d);
    v = both.slice(1, kv, 2 * kv).slice(3, 0, d);
  }
};

/// Element `i` of [T, KV, 1, D] in a buffer as above, the values' behind the keys'.
inline std::int64_t place_in(const Tensor& both, std::int64_t d, std::int64_t i, bool value) {
  const std::int64_t kv = both.dim(1) / 2, t = i / d / kv, j = i / d % kv;
  return ((2 * t + (value ? 1 : 0)) * kv + j) * both.dim(3) + i % d;
}

/// The keys and values of `a` on the device.
inline DeviceKeyValues keys_and_values(const Attention& a, DeviceTensors& device, bool shifted) {
  const auto [kv, g, d] = a.dims;
  Tensors host;
  const Tensor both = host.empty({a.t, 2 * kv, 1, d + (shifted ? 1 : 0)}, a.q.dtype());
  for (std::int64_t i = 0; i < a.k.numel(); ++i) {
    set(both, place_in(both, d, i, false), get(a.k, i));
    set(both, place_in(both, d, i, true), get(a.wide, a.wide_index(i)));
  }
  return {device.copy(both, shifted), d};
}

/// What lies on the device as keys, or as values, end to end.
inline Tensor dense(const DeviceKeyValues& device, bool value, Tensors& host) {
  const Tensor both = to_host(device.both, host);
  const Tensor result = host.empty(device.k.shape(), both.dtype());
  for (std::int64_t i = 0; i < result.numel(); ++i)
    set(result, i, get(both, place_in(both, result.dim(3), i, value)));
  return result;
}

}  // namespace hg::test
