// The CUDA bodies of ops/gate.h, on a simulated device, against the CPU's.
#include "ops/gate.h"

#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

enum class Logits { elementwise, headwise, absent, shared };

struct Case {
  std::int64_t tokens, kv, g, d, gap;  // elements between the gates of neighbouring heads
  Logits logits;
  bool in_place = false, shifted = false;  // whether operands are not 16-byte aligned
};

/// Every activation in both modes.
std::vector<GateFunction> functions() {
  std::vector<GateFunction> result;
  for (const Activation activation :
       {Activation::sigmoid, Activation::silu, Activation::ns_sigmoid, Activation::identity}) {
    for (const GateMode mode : {GateMode::multiplicative, GateMode::additive})
      result.push_back({.activation = activation, .mode = mode, .scale = 1.7F});
  }
  return result;
}

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const Logits logits :
       {Logits::elementwise, Logits::headwise, Logits::absent, Logits::shared}) {
    result.push_back({3, 2, 3, 19, 2, logits});
    result.push_back({5, 2, 2, 64, 8, logits});
    result.push_back({1, 1, 3, 128, 0, logits, true});
    result.push_back({2, 2, 1, 48, 8, logits, false, true});
    result.push_back({0, 2, 2, 16, 0, logits});
  }
  result.push_back({2, 1, 1, 2312, 0, Logits::elementwise});  // a whole row
  result.push_back({2, 1, 1, 2312, 0, Logits::headwise});
  return result;
}

/// Heads, and gates in a fused projection, whose rows also hold other things.
void check(Context& ctx, const Case& its, DType dtype, const GateFunction& function) {
  Tensors host;
  DeviceTensors device;
  const Shape heads{its.tokens, its.kv, its.g, its.d};
  const std::int64_t e = its.logits == Logits::headwise ? 1 : its.d;
  const auto fused = [&](const char* name) {
    const std::int64_t each = e + its.gap, width = its.g * each + 8;
    const Tensor buffer = host.normal(name, {its.tokens, its.kv * width}, dtype, 2);
    return buffer.split(1, its.kv, width).slice(2, 8, width).split(2, its.g, each).slice(3, 0, e);
  };
  const Tensor x = host.normal("x", heads, dtype), dy = host.normal("dy", heads, dtype),
               y = its.in_place ? x : host.empty(heads, dtype),
               dx = its.in_place ? dy : host.empty(heads, dtype);
  Tensor logits, dlogits;
  if (its.logits != Logits::absent) logits = fused("logits"), dlogits = fused("dlogits");
  if (its.logits == Logits::shared)
    logits = Tensor(logits.data(), dtype, heads, {logits.stride(0), 0, 0, 1});
  const auto on_device = [&](const Tensor& slice) {
    return copy_slice(device, slice, its.shifted);
  };
  const Tensor cuda_x = on_device(x), cuda_dy = on_device(dy),
               cuda_y = its.in_place ? cuda_x : on_device(y),
               cuda_dx = its.in_place ? cuda_dy : on_device(dx), cuda_logits = on_device(logits),
               cuda_dlogits = on_device(dlogits);
  run(ctx, GateBackward{dx, dlogits, dy, x, logits, function});
  run(ctx, GateForward{y, x, logits, function});
  cuda_kernel(GateBackward{cuda_dx, cuda_dlogits, cuda_dy, cuda_x, cuda_logits, function}, ctx,
              nullptr);
  cuda_kernel(GateForward{cuda_y, cuda_x, cuda_logits, function}, ctx, nullptr);
  expect_same(cuda_y, y, "y");
  expect_same(cuda_dx, dx, "dx");
  expect_same(cuda_dlogits, dlogits, "dlogits");
}

TEST(CudaGate, AgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : cases()) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const GateFunction& function : functions()) check(*ctx, its, dtype, function);
      }
    }
  }
}

TEST(CudaGate, SaturatesWithoutNaN) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const float logit : {200.0F, -200.0F}) {
    Tensors host;
    DeviceTensors device;
    const Shape shape{1, 1, 1, 16};
    const Tensor x = host.normal("x", shape),
                 z = device.copy(host.normal("z", shape, DType::f32, 0, logit)),
                 y = device.empty(shape), dx = device.empty(shape), dz = device.empty(shape);
    cuda_kernel(GateForward{y, device.copy(x), z, {}}, *ctx, nullptr);
    cuda_kernel(GateBackward{dx, dz, device.copy(x), device.copy(x), z, {}}, *ctx, nullptr);
    const Tensor values = to_host(y, host), gradient = to_host(dx, host),
                 of_logit = to_host(dz, host);
    for (std::int64_t i = 0; i < 16; ++i) {
      EXPECT_NEAR(get(values, i), logit > 0 ? get(x, i) : 0, 1e-30);
      EXPECT_NEAR(get(gradient, i), logit > 0 ? get(x, i) : 0, 1e-30);
      EXPECT_NEAR(get(of_logit, i), 0, 1e-30);
    }
  }
}

}  // namespace
}  // namespace hg::test
