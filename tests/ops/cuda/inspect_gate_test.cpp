// The CUDA bodies of ops/inspect_gate.h, on a simulated device, against the CPU's.
#include "ops/inspect_gate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

GateScores scores_of(Tensors& host, const ConstTensor& logits, Activation activation, float scale) {
  const std::int64_t heads = logits.dim(1) * logits.dim(2);
  return {.heads = host.empty({heads + 1, GateScores::kStatistics}),
          .histogram = host.empty({heads, GateScores::kBins}),
          .tokens = host.empty({logits.dim(0)}),
          .logits = logits,
          .activation = activation,
          .scale = scale};
}

void check(Context& ctx, const ConstTensor& logits, Activation activation, float scale = 1) {
  Tensors host;
  DeviceTensors device;
  const GateScores op = scores_of(host, logits, activation, scale);
  GateScores cuda = op;
  cuda.heads = device.copy(op.heads);
  cuda.histogram = device.copy(op.histogram);
  cuda.tokens = device.copy(op.tokens);
  cuda.logits = copy_slice(device, logits);
  run(ctx, op);
  cuda_kernel(cuda, ctx, nullptr);
  const auto compare = [&](const Tensor& on_device, const Tensor& expected, const char* what) {
    const Tensor result = to_host(on_device, host);
    for (std::int64_t i = 0; i < expected.numel(); ++i)
      expect_measured(get(result, i), double{get(expected, i)}, fmt::format("{} {}", what, i));
  };
  compare(cuda.heads, op.heads, "statistic");
  compare(cuda.histogram, op.histogram, "bin");
  compare(cuda.tokens, op.tokens, "token");
}

struct Case {
  std::int64_t tokens, kv, g, e, gap;  // elements between heads
};
const std::vector<Case> kCases{
    {1, 1, 1, 1, 0}, {37, 2, 1, 19, 3}, {300, 1, 2, 1, 2}, {5, 1, 2, 64, 0}, {2, 1, 1, 300, 0}};

TEST(CudaGateScores, AgreeWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        Tensors host;
        const Tensor logits =
            host.normal("logits", {its.tokens, its.kv, its.g, its.e + its.gap}, dtype, 2)
                .slice(3, 0, its.e);
        check(*ctx, logits, Activation::sigmoid);
      }
    }
  }
}

TEST(CudaGateScores, OfEveryActivationAndStride) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  const Tensor logits = host.normal("logits", {40, 2, 3, 5}, DType::f32, 2);
  for (const Activation activation :
       {Activation::silu, Activation::ns_sigmoid, Activation::identity})
    check(*ctx, logits, activation, -1.7F);
  // Heads share logits; elements are apart.
  check(*ctx, Tensor(logits.data(), DType::f32, {40, 2, 2, 5}, {30, 0, 0, 2}), Activation::sigmoid);
}

TEST(CudaGateScores, QuantilesOfEqualAndNegativeScoresAndZeros) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  const Tensor logits = host.zeros({60, 1, 2, 3});
  for (std::int64_t i = 0; i < logits.numel(); ++i)
    set(logits, i, i % 5 == 0 ? -0.0F : i % 5 == 1 ? 0.0F : i % 7 == 0 ? -INFINITY : i % 3 - 1.0F);
  check(*ctx, logits, Activation::identity);
}

TEST(CudaGateScores, NaNShowsWhereItEnters) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  const Tensor logits = host.normal("logits", {20, 1, 3, 4});
  set(logits, 7 * 12 + 5, NAN);
  check(*ctx, logits, Activation::sigmoid);
}

}  // namespace
}  // namespace hg::test
