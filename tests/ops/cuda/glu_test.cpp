// The CUDA bodies of ops/glu.h, on a simulated device, against the CPU's.
#include "ops/glu.h"

#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

struct Case {
  std::int64_t tokens, f;
  bool shifted = false;  // operands are not 16-byte aligned
};
const std::vector<Case> kCases{{1, 1},        {5, 45},   {3, 64}, {40, 24},
                               {3, 64, true}, {2, 2312}, {0, 16}};

/// Of `used`: rows of nobody, which keep what they hold; -1: there are none.
void check(Context& ctx, const Case& its, DType dtype, bool weighted, std::int32_t used = -1) {
  Tensors host;
  DeviceTensors device;
  const Tensor x = host.normal("x", {its.tokens, 2 * its.f}, dtype, 2),
               dy = host.normal("dy", {its.tokens, its.f}, dtype),
               y = host.zeros(dy.shape(), dtype), dx = host.zeros(x.shape(), dtype);
  Tensor weights, dweights, in_use;
  if (weighted) weights = host.normal("w", {its.tokens}), dweights = host.zeros({its.tokens});
  if (used >= 0) in_use = host.integers({used});
  const auto on_device = [&](const Tensor& tensor) {
    return copy_slice(device, tensor, its.shifted);
  };
  const Tensor cuda_x = on_device(x), cuda_y = on_device(y), cuda_dx = on_device(dx),
               cuda_weights = on_device(weights), cuda_dweights = on_device(dweights),
               cuda_in_use = in_use ? device.copy(in_use) : Tensor{};
  run(ctx, SwiGluForward{.y = y, .x = x, .weights = weights, .used = in_use});
  run(ctx,
      SwiGluBackward{
          .dx = dx, .dweights = dweights, .dy = dy, .x = x, .weights = weights, .used = in_use});
  cuda_kernel(SwiGluForward{.y = cuda_y, .x = cuda_x, .weights = cuda_weights, .used = cuda_in_use},
              ctx, nullptr);
  cuda_kernel(SwiGluBackward{.dx = cuda_dx,
                             .dweights = cuda_dweights,
                             .dy = on_device(dy),
                             .x = cuda_x,
                             .weights = cuda_weights,
                             .used = cuda_in_use},
              ctx, nullptr);
  expect_same(cuda_y, y, "y");
  expect_same(cuda_dx, dx, "dx");
  expect_same(cuda_dweights, dweights, "dweights");
}

TEST(CudaSwiGlu, AgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const bool weighted : {false, true}) check(*ctx, its, dtype, weighted);
        check(*ctx, its, dtype, true, static_cast<std::int32_t>(its.tokens / 2));
      }
    }
  }
}

}  // namespace
}  // namespace hg::test
