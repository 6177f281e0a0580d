// The CUDA bodies of ops/optimizer.h, on a simulated device, against the CPU's.
#include "ops/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// Lengths with and without whole vectors, pieces and blocks.
const std::vector<std::int64_t> kLengths{0, 1, 3, 4, 1023, 1024, 1030, 5000};

TEST(CudaOptimizer, AdamWAgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const std::int64_t n : kLengths) {
      const bool shifted = n % 2 == 1, with_working = n % 4 != 0;
      Tensors host;
      DeviceTensors device;
      const Tensor master = host.normal("master", {n}), m = host.normal("m", {n}),
                   v = host.normal("v", {n}), gradient = host.normal("gradient", {n});
      for (std::int64_t i = 0; i < n; ++i) set(v, i, get(v, i) * get(v, i));
      const Tensor working = with_working ? host.empty({n}, DType::bf16) : Tensor();
      const AdamW op{.master = master,
                     .m = m,
                     .v = v,
                     .working = working,
                     .gradient = gradient,
                     .lr = 1e-2,
                     .beta1 = 0.9,
                     .beta2 = 0.999,
                     .eps = 1e-8,
                     .weight_decay = 0.1,
                     .gradient_scale = 0.5F,
                     .step = 7};
      AdamW cuda = op;
      cuda.master = device.copy(master, shifted);
      cuda.m = device.copy(m);
      cuda.v = device.copy(v);
      cuda.gradient = device.copy(gradient);
      if (working) cuda.working = device.copy(working, shifted);
      run(*ctx, op);
      cuda_kernel(cuda, *ctx, nullptr);
      EXPECT_LT(relative_error(to_host(cuda.m, host), m), rounding(DType::f32)) << n;
      EXPECT_LT(relative_error(to_host(cuda.v, host), v), rounding(DType::f32)) << n;
      const Tensor result = to_host(cuda.master, host);
      EXPECT_LT(relative_error(result, master), rounding(DType::f32)) << n;
      if (with_working) {
        EXPECT_TRUE(same_bits(to_host(cuda.working, host), host.copy(result, DType::bf16))) << n;
      }
    }
  }
}

TEST(CudaOptimizer, SumOfSquaresAgreesWithTheCpuAndHasTheSameBitsInEveryOrder) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const std::int64_t n : kLengths) {
    Tensors host;
    const Tensor x = host.normal("x", {n}), out = host.empty({1});
    run(*ctx, SumOfSquares{.out = out, .x = x});
    std::vector<float> sums;
    for (const cuda_sim::Options& options : schedules()) {
      const cuda_sim::Simulation simulation(options);
      DeviceTensors device;
      const Tensor sum = device.empty({1});
      cuda_kernel(SumOfSquares{.out = sum, .x = device.copy(x, n % 2 == 1)}, *ctx, nullptr);
      sums.push_back(get(to_host(sum, host), 0));
      EXPECT_EQ(sums.back(), sums.front());
    }
    EXPECT_NEAR(sums.front(), get(out, 0), 1e-7 * get(out, 0)) << n;  // both are rounded once
  }
}

TEST(CudaOptimizer, SumOfSquaresKeepsNanAndOverflow) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), 3e38F}) {
    DeviceTensors device;
    const Tensor x = host.zeros({2000}), sum = device.empty({1});
    set(x, 1999, value);
    cuda_kernel(SumOfSquares{.out = sum, .x = device.copy(x)}, *ctx, nullptr);
    EXPECT_FALSE(std::isfinite(get(to_host(sum, host), 0)));
  }
}

TEST(CudaOptimizer, CastHasTheBitsOfTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const std::int64_t n : kLengths) {
      for (const DType from : {DType::f32, DType::bf16}) {
        for (const DType to : {DType::f32, DType::bf16}) {
          Tensors host;
          DeviceTensors device;
          const Tensor x = host.normal("x", {n}, from), y = host.empty({n}, to);
          run(*ctx, Cast{.y = y, .x = x});
          const Tensor result = device.copy(y, n % 3 == 0);
          cuda_kernel(Cast{.y = result, .x = device.copy(x, n % 2 == 1)}, *ctx, nullptr);
          EXPECT_TRUE(same_bits(to_host(result, host), y)) << n;
        }
      }
    }
  }
}

}  // namespace
}  // namespace hg::test
