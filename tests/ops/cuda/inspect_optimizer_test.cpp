// The CUDA bodies of ops/inspect_optimizer.h, on a simulated device, against the CPU's.
#include "ops/inspect_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

/// The operands of a step on `n` elements.
UpdateNorms some_step(Tensors& host, std::int64_t n) {
  const Tensor v = host.normal("v", {n});
  for (std::int64_t i = 0; i < n; ++i) set(v, i, get(v, i) * get(v, i));
  return {.out = host.empty({UpdateNorms::kSums}),
          .master = host.normal("master", {n}),
          .m = host.normal("m", {n}),
          .v = v,
          .gradient = host.normal("gradient", {n}),
          .lr = 1e-2,
          .beta1 = 0.9,
          .beta2 = 0.999,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .gradient_scale = 0.5F,
          .step = 7};
}

Tensor run_on_device(Context& ctx, UpdateNorms op, bool shifted, Tensors& host) {
  DeviceTensors device;
  op.out = device.copy(op.out);
  op.master = device.copy(op.master, shifted);
  op.m = device.copy(op.m);
  op.v = device.copy(op.v, shifted);
  op.gradient = device.copy(op.gradient);
  cuda_kernel(op, ctx, nullptr);
  return to_host(op.out, host);
}

TEST(CudaUpdateNorms, AgreeWithTheCpuAndHaveTheSameBitsInEveryOrder) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const std::int64_t n : {0, 1, 3, 1023, 1024, 1030, 5000}) {
    for (const bool shifted : {false, true}) {
      Tensors host;
      const UpdateNorms op = some_step(host, n);
      run(*ctx, op);
      std::vector<Tensor> results;
      for (const cuda_sim::Options& options : schedules()) {
        const cuda_sim::Simulation simulation(options);
        results.push_back(run_on_device(*ctx, op, shifted, host));
        EXPECT_TRUE(same_bits(results.back(), results.front()));
      }
      for (std::int64_t i = 0; i < UpdateNorms::kSums; ++i) {
        const double expected = double{get(op.out, i)};
        EXPECT_NEAR(get(results.front(), i), expected, 1e-6 * expected) << n << " sum " << i;
      }
    }
  }
}

TEST(CudaUpdateNorms, NaNShowsInTheSumsThatItEnters) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  UpdateNorms op = some_step(host, 2000);
  const Tensor m = host.normal("m", {2000});
  set(m, 1999, NAN);
  op.m = m;
  const Tensor result = run_on_device(*ctx, op, false, host);
  EXPECT_TRUE(std::isfinite(get(result, UpdateNorms::kWeights)));
  EXPECT_TRUE(std::isnan(get(result, UpdateNorms::kUpdates)));
  EXPECT_TRUE(std::isfinite(get(result, UpdateNorms::kGradients)));
}

}  // namespace
}  // namespace hg::test
