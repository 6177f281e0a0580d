// The CUDA body of CopyRows, on a simulated device, against the CPU's.
#include <gtest/gtest.h>

#include "ops/cached_attention.h"
#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

TEST(CudaCopy, CopiesTheRowsAndNothingBetween) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const std::int64_t d : {1, 7, 64}) {
        Tensors host;
        DeviceTensors device;
        const Tensor x = host.normal("x", {5, 3, 4, d}, dtype).slice(1, 1, 3),
                     y = host.normal("y", {5, 2, 6, d}, dtype).slice(2, 2, 6);
        const Tensor before = copy_slice(device, y);
        cuda_kernel(CopyRows{.y = before, .x = copy_slice(device, x)}, *ctx, nullptr);
        run(*ctx, CopyRows{.y = y, .x = x});
        expect_same_bits(before, y, "y");
      }
    }
  }
}

TEST(CudaCopy, CopiesCounts) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  DeviceTensors device;
  const Tensor x = host.empty({1, 1, 1, 5}, DType::i32), y = host.empty({1, 1, 1, 5}, DType::i32);
  for (int i = 0; i < 5; ++i) x.as<std::int32_t>()[i] = i - 2;
  const Tensor on_device = device.empty({1, 1, 1, 5}, DType::i32);
  cuda_kernel(CopyRows{.y = on_device, .x = device.copy(x)}, *ctx, nullptr);
  cuda_kernel(CopyRows{.y = device.empty({0, 1, 1, 5}), .x = device.empty({0, 1, 1, 5})}, *ctx,
              nullptr);
  run(*ctx, CopyRows{.y = y, .x = x});
  expect_same_bits(on_device, y, "y");
}

}  // namespace
}  // namespace hg::test
