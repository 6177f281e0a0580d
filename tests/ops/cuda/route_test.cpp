// The CUDA bodies of ops/route.h, on a simulated device, against the CPU's.
#include "ops/route.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/router.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr RouterFunction kFunctions[] = {
    {.score = RouterScore::softmax, .renormalize = true, .factor = 1},
    {.score = RouterScore::softmax, .renormalize = false, .factor = 1.5F},
    {.score = RouterScore::sigmoid, .renormalize = true, .factor = 2.5F},
    {.score = RouterScore::sigmoid, .renormalize = false, .factor = 1},
};

std::vector<RouterSetup> setups() {
  return {{.tokens = 5, .experts = 1, .k = 1},
          {.tokens = 130, .experts = 19, .k = 4, .biased = true},
          {.tokens = 65, .experts = 64, .k = 8},
          {.tokens = 20, .experts = 40, .k = 40},
          {.tokens = 150,
           .experts = 128,
           .k = 2,
           .biased = true,
           .documents = {0, 1, 1, 64, 130, 150, 150}},
          {.tokens = 3, .experts = 300, .k = 35},
          {.tokens = 2, .experts = 1024, .k = 10, .biased = true},
          {.tokens = 0, .experts = 8, .k = 2}};
}

/// A router on the device, with the operands of one on the host.
struct CudaRouter {
  DeviceTensors device;
  RouterForward forward;
  RouterBackward backward;

  explicit CudaRouter(const Router& router)
      : forward(router.forward_op()), backward(router.backward_op()) {
    forward.weights = device.empty(router.weights.shape());
    forward.experts = device.empty(router.experts.shape(), DType::i32);
    forward.counts = device.empty(router.counts.shape(), DType::i32);
    forward.probability_sums = device.empty(router.probability_sums.shape());
    forward.statistics = device.empty(router.statistics.shape());
    forward.logits = device.copy(router.logits);
    if (router.bias) forward.bias = device.copy(router.bias);
    if (router.documents) forward.documents = device.copy(router.documents);
    backward.dlogits = device.empty(router.dlogits.shape());
    backward.dweights = device.copy(router.dweights);
    backward.logits = forward.logits;
    backward.experts = forward.experts;
    if (router.balance) backward.balance = device.copy(router.balance);
    backward.documents = forward.documents;
  }
};

TEST(CudaRouter, AgreesWithTheCpu) {
  std::size_t run = 0;
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (RouterSetup setup : setups()) {
      setup.function = kFunctions[run++ % 4];
      Router router(Isa::avx2, setup);
      if (run % 3 == 0) router.balance = {};
      CudaRouter cuda(router);
      router.forward();
      router.backward();
      cuda_kernel(cuda.forward, *router.ctx, nullptr);
      cuda_kernel(cuda.backward, *router.ctx, nullptr);
      const auto error = [&](const ConstTensor& device, const ConstTensor& host) {
        return relative_error(to_host(device, router.memory), host);
      };
      SCOPED_TRACE(testing::Message() << setup.tokens << " tokens, " << setup.experts
                                      << " experts, function " << (run - 1) % 4);
      EXPECT_TRUE(same_bits(to_host(cuda.forward.experts, router.memory), router.experts));
      EXPECT_TRUE(same_bits(to_host(cuda.forward.counts, router.memory), router.counts));
      EXPECT_LT(error(cuda.forward.weights, router.weights), rounding(DType::f32));
      EXPECT_LT(error(cuda.forward.probability_sums, router.probability_sums), kReordered);
      EXPECT_LT(error(cuda.forward.statistics, router.statistics), kReordered);
      EXPECT_LT(error(cuda.backward.dlogits, router.dlogits), kReordered);
    }
    ++run;  // every schedule has other functions of a setup
  }
}

TEST(CudaRouter, OfEqualScoresTheLowerExpertIsFirst) {
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const RouterFunction& function : kFunctions) {
    const Router router(Isa::avx2,
                        {.tokens = 2, .experts = 40, .k = 4, .function = function, .biased = true});
    for (std::int64_t i = 0; i < 80; ++i) set(router.logits, i, 0.5F);
    for (std::int64_t e = 0; e < 40; ++e) set(router.bias, e, e % 2 == 0 ? 0.0F : -0.0F);
    for (const std::int64_t e : {39, 20, 3}) set(router.logits, 40 + e, 0.75F);
    CudaRouter cuda(router);
    Tensors host;
    cuda_kernel(cuda.forward, *router.ctx, nullptr);
    EXPECT_EQ(integers_of(to_host(cuda.forward.experts, host)),
              (std::vector<std::int32_t>{0, 1, 2, 3, 3, 20, 39, 0}));
  }
}

TEST(CudaRouter, BackwardMayReplaceTheLogits) {
  const cuda_sim::Simulation simulation({.devices = 1});
  Router router(Isa::avx2, {.tokens = 20, .experts = 45, .k = 3});
  CudaRouter cuda(router);
  const Tensor logits = cuda.device.copy(router.logits);
  cuda_kernel(cuda.forward, *router.ctx, nullptr);
  cuda_kernel(cuda.backward, *router.ctx, nullptr);
  const Tensor apart = cuda.backward.dlogits;
  cuda.backward.logits = cuda.backward.dlogits = logits;
  cuda_kernel(cuda.backward, *router.ctx, nullptr);
  EXPECT_TRUE(same_bits(to_host(apart, router.memory), to_host(logits, router.memory)));
}

// The device has nobody to tell, but it must not make experts up.
TEST(CudaRouter, LogitsThatAreNotFiniteStillChooseDifferentExperts) {
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Router router(Isa::avx2, {.tokens = 3, .experts = 19, .k = 6});
    for (std::int64_t e = 0; e < 19; ++e) set(router.logits, 19 + e, bad);
    CudaRouter cuda(router);
    cuda_kernel(cuda.forward, *router.ctx, nullptr);
    const auto experts = integers_of(to_host(cuda.forward.experts, router.memory));
    const std::set<std::int32_t> different(experts.begin() + 6, experts.begin() + 12);
    EXPECT_EQ(different.size(), 6U);
    EXPECT_GE(*different.begin(), 0);
    EXPECT_LT(*different.rbegin(), 19);
    EXPECT_TRUE(std::isnan(get(to_host(cuda.forward.weights, router.memory), 6)));
  }
}

TEST(CudaRouter, SumsHaveTheSameBitsInEveryOrder) {
  std::vector<Tensor> sums;
  Tensors host;
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    const Router router(Isa::avx2,
                        {.tokens = 200, .experts = 37, .k = 4, .documents = {0, 9, 200}});
    CudaRouter cuda(router);
    cuda_kernel(cuda.forward, *router.ctx, nullptr);
    sums.push_back(to_host(cuda.forward.probability_sums, host));
    sums.push_back(to_host(cuda.forward.statistics, host));
  }
  for (std::size_t i = 2; i < sums.size(); ++i) EXPECT_TRUE(same_bits(sums[i], sums[i % 2]));
}

TEST(CudaRouter, WhatKeepsLoadsEvenIsTheCpus) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const std::int64_t experts : {1, 19, 300}) {
      Tensors host;
      DeviceTensors device;
      std::vector<std::int32_t> numbers;
      for (std::int64_t i = 0; i < 3 * experts; ++i) {
        numbers.push_back(i < experts       ? static_cast<std::int32_t>(i * 7 % 11)
                          : i < 2 * experts ? 0
                                            : 5);
      }
      const Tensor counts = host.integers(numbers).view({3, experts});
      const Tensor loads =
          host.integers(std::vector<std::int32_t>(numbers.begin(), numbers.begin() + experts));
      const Tensor balance = host.empty(counts.shape()), bias = host.normal("bias", {experts});
      const Tensor device_loads = device.copy(loads), device_counts = device.copy(counts),
                   device_balance = device.empty(balance.shape()), device_bias = device.copy(bias);
      run(*ctx, RouterLoads{.loads = loads, .counts = counts});
      cuda_kernel(RouterLoads{.loads = device_loads, .counts = device_counts}, *ctx, nullptr);
      EXPECT_TRUE(same_bits(to_host(device_loads, host), loads));
      run(*ctx, RouterBalance{.balance = balance, .counts = counts, .coefficient = 0.03F});
      cuda_kernel(
          RouterBalance{.balance = device_balance, .counts = device_counts, .coefficient = 0.03F},
          *ctx, nullptr);
      EXPECT_TRUE(same_bits(to_host(device_balance, host), balance));
      run(*ctx, RouterBiasUpdate{.bias = bias, .loads = loads, .rate = 0.01F});
      cuda_kernel(RouterBiasUpdate{.bias = device_bias, .loads = device_loads, .rate = 0.01F}, *ctx,
                  nullptr);
      EXPECT_LT(relative_error(to_host(device_bias, host), bias), rounding(DType::f32));
    }
  }
}

}  // namespace
}  // namespace hg::test
