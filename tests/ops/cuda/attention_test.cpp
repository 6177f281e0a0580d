// The CUDA bodies of ops/attention.h, on a simulated device, against the CPU's.
#include "ops/attention.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/device_attention.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

const Engine kCpu{"", Isa::avx2, {}};

/// As in tests/ops/attention_test.cpp: in bf16, the weights and dS are rounded too.
constexpr double gradient_rounding(DType dtype) { return dtype == DType::bf16 ? 1.2e-2 : 3e-6; }

struct Results {
  Tensor o, lse, dq, dk, dv;
};

/// Both passes on the device, of the queries and slices of `forward` and `backward`.
Results run_on_device(const Attention& a, AttentionForward forward, AttentionBackward backward,
                      bool shifted, Tensors& host) {
  DeviceTensors device;
  const auto ctx = device_context();
  const auto copy = [&](const ConstTensor& x) { return device.copy(x, shifted); };
  const DeviceKeyValues inputs = keys_and_values(a, device, shifted);
  const DeviceKeyValues gradients(
      device.copy(host.empty(inputs.both.shape(), a.q.dtype()), shifted), a.dims.d);
  const Tensor o = copy(forward.o), dq = copy(backward.dq), lse = device.empty(forward.lse.shape());
  forward.o = o, forward.lse = lse, forward.k = inputs.k, forward.v = inputs.v;
  forward.q = copy(forward.q);
  forward.documents = device.copy(forward.documents);
  if (forward.keys) forward.keys = device.copy(forward.keys);
  backward.o = o, backward.lse = lse, backward.k = inputs.k, backward.v = inputs.v;
  backward.q = forward.q, backward.documents = forward.documents, backward.keys = forward.keys;
  backward.d_o = copy(backward.d_o);
  backward.dq = dq, backward.dk = gradients.k, backward.dv = gradients.v;
  forward.check();
  cuda_kernel(forward, *ctx, nullptr);
  backward.check();
  cuda_kernel(backward, *ctx, nullptr);
  EXPECT_EQ(ctx->scratch.used(), 0U);
  return {to_host(o, host), to_host(lse, host), to_host(dq, host), dense(gradients, false, host),
          dense(gradients, true, host)};
}

void expect_near(const Results& device, const Results& cpu) {
  const DType dtype = cpu.o.dtype();
  EXPECT_LT(relative_error(device.o, cpu.o), rounding(dtype));
  EXPECT_LT(relative_error(device.lse, cpu.lse), kReordered);
  EXPECT_LT(relative_error(device.dq, cpu.dq), gradient_rounding(dtype));
  EXPECT_LT(relative_error(device.dk, cpu.dk), gradient_rounding(dtype));
  EXPECT_LT(relative_error(device.dv, cpu.dv), gradient_rounding(dtype));
}

void expect_same_bits(const Results& a, const Results& b) {
  EXPECT_TRUE(same_bits(a.o, b.o));
  EXPECT_TRUE(same_bits(a.lse, b.lse));
  EXPECT_TRUE(same_bits(a.dq, b.dq));
  EXPECT_TRUE(same_bits(a.dk, b.dk));
  EXPECT_TRUE(same_bits(a.dv, b.dv));
}

/// Runs the ops on the simulated device in every schedule, against what the CPU gave.
void expect_same_as_cpu(const Attention& a, const AttentionForward& forward,
                        const AttentionBackward& backward, const Results& cpu, bool shifted) {
  SCOPED_TRACE(fmt::format("{} T={} KV={} G={} D={}", name_of(a.q.dtype()), a.t, a.dims.kv,
                           a.dims.g, a.dims.d));
  Tensors host;
  std::vector<Results> results;
  for (const cuda_sim::Options& options : attention_schedules()) {
    const cuda_sim::Simulation simulation(options);
    results.push_back(run_on_device(a, forward, backward, shifted, host));
    expect_same_bits(results.back(), results.front());
  }
  expect_near(results.front(), cpu);
}

void expect_same_as_cpu(DType dtype, Dims dims, const std::vector<std::int32_t>& lengths,
                        bool shifted = false) {
  Attention a(kCpu, dtype, dims, lengths);
  a.forward();
  a.backward();
  expect_same_as_cpu(a, a.forward_op(), a.backward_op(), {a.o, a.lse, a.dq, a.dk, a.dense(a.dwide)},
                     shifted);
}

/// A part of an attention, as a rank has it that shares the tokens.
void expect_part_same_as_cpu(DType dtype, Dims dims, const std::vector<std::int32_t>& lengths,
                             const std::vector<TokenRun>& runs) {
  Attention a(kCpu, dtype, dims, lengths);
  AttentionPart part(a, runs);
  part.run();
  Tensors host;
  const DeviceKeyValues gradients({part.dk.data(), dtype, {a.t, 2 * dims.kv, 1, dims.d}}, dims.d);
  const auto dense_on_host = [&](bool value) {
    const Tensor result = host.empty(a.k.shape(), dtype);
    for (std::int64_t i = 0; i < result.numel(); ++i)
      set(result, i, get(gradients.both, place_in(gradients.both, dims.d, i, value)));
    return result;
  };
  expect_same_as_cpu(a, part.forward_op(), part.backward_op(),
                     {part.o, part.lse, part.dq, dense_on_host(false), dense_on_host(true)}, false);
}

constexpr DType kDTypes[] = {DType::f32, DType::bf16};

TEST(CudaAttention, AgreesWithTheCpuForEveryHeadSizeAndGroup) {
  for (const DType dtype : kDTypes) {
    expect_same_as_cpu(dtype, {.kv = 2, .g = 1, .d = 16}, {1, 37, 5});
    expect_same_as_cpu(dtype, {.kv = 1, .g = 3, .d = 64}, {1, 17, 5});
    expect_same_as_cpu(dtype, {.kv = 2, .g = 2, .d = 128}, {9, 1, 23});
    expect_same_as_cpu(dtype, {.kv = 1, .g = 4, .d = 256}, {20, 3});
  }
}

TEST(CudaAttention, AgreesWithTheCpuAcrossTiles) {
  std::vector<std::int32_t> many(30, 1);  // of one token, around one that sees more than itself
  many[15] = 60;
  for (const DType dtype : kDTypes) {
    expect_same_as_cpu(dtype, {.kv = 1, .g = 1, .d = 64}, {150});
    expect_same_as_cpu(dtype, {.kv = 1, .g = 2, .d = 128}, {63, 2, 0, 1, 20});
    expect_same_as_cpu(dtype, {.kv = 1, .g = 1, .d = 256}, {64, 6});
    expect_same_as_cpu(dtype, {.kv = 1, .g = 2, .d = 32}, many);
  }
}

TEST(CudaAttention, TakesRowsThatAreNotWholeVectors) {
  for (const DType dtype : kDTypes) {
    expect_same_as_cpu(dtype, {.kv = 2, .g = 2, .d = 19}, {1, 40}, true);
    expect_same_as_cpu(dtype, {.kv = 1, .g = 1, .d = 64}, {40}, true);
    expect_same_as_cpu(dtype, {.kv = 1, .g = 1, .d = 7}, {1, 3});
  }
}

TEST(CudaAttention, OfSomeQueriesAgreesWithTheCpu) {
  for (const DType dtype : kDTypes) {
    expect_part_same_as_cpu(dtype, {.kv = 2, .g = 2, .d = 64}, {200}, {{0, 50}, {150, 200}});
    expect_part_same_as_cpu(dtype, {.kv = 1, .g = 2, .d = 32}, {63, 65, 1, 51},
                            {{40, 70}, {129, 150}});
    expect_part_same_as_cpu(dtype, {.kv = 1, .g = 1, .d = 128}, {90, 30}, {{100, 101}});
    expect_part_same_as_cpu(dtype, {.kv = 1, .g = 1, .d = 64}, {20, 150, 20}, {{0, 5}, {185, 190}});
  }
}

TEST(CudaAttention, KeysThatNoQuerySeesHaveNoGradient) {
  for (const DType dtype : kDTypes) {
    Attention a(kCpu, dtype, {.kv = 1, .g = 2, .d = 64}, {10});
    AttentionForward forward = a.forward_op();
    AttentionBackward backward = a.backward_op();
    const Tensor none = a.q.rows(0, 0), no_lse = a.memory.empty({1, 2, 0});
    forward.o = none, forward.q = none, forward.lse = no_lse;
    forward.documents = a.memory.integers({0, 0});
    forward.keys = a.memory.integers({0, 0}).view({1, 2});
    backward.dq = none, backward.d_o = none;
    const Tensor zeros = a.memory.zeros(a.k.shape(), dtype);
    expect_same_as_cpu(a, forward, backward, {none, no_lse, none, zeros, zeros}, false);
  }
}

TEST(CudaAttention, LargeScoresDoNotOverflow) {
  for (const DType dtype : kDTypes) {
    Attention a(kCpu, dtype, {.kv = 1, .g = 1, .d = 32}, {80});
    for (std::int64_t i = 0; i < a.q.numel(); ++i) set(a.q, i, 50 * get(a.q, i));
    a.forward();
    a.backward();
    Tensors host;
    const cuda_sim::Simulation simulation({.devices = 1});
    const Results device = run_on_device(a, a.forward_op(), a.backward_op(), false, host);
    EXPECT_LT(relative_error(device.lse, a.lse), kReordered);
    EXPECT_LT(relative_error(device.o, a.o), dtype == DType::bf16 ? 8e-3 : 1e-4);
  }
}

TEST(CudaAttention, NeedsTheScratchThatAMetaRunMeasuresForIt) {
  Attention a(kCpu, DType::bf16, {.kv = 2, .g = 2, .d = 64}, {40});
  Context meta;
  meta.device = Device::meta;
  meta.plans_for = Device::cuda;
  run(meta, a.forward_op());
  run(meta, a.backward_op());
  Context device;
  device.device = Device::cuda;
  device.scratch.reserve(meta.scratch.high_water());
  const ArenaScope scope(device.scratch);
  EXPECT_EQ(a.backward_op().scratch(device).rows.shape(), (Shape{2, 80, 4}));
  EXPECT_EQ(device.scratch.used(), meta.scratch.high_water());
}

TEST(CudaAttention, HeadsThatAreTooLongAreAnError) {
  Attention a(kCpu, DType::bf16, {.kv = 1, .g = 1, .d = 288}, {3});
  const cuda_sim::Simulation simulation({.devices = 1});
  EXPECT_THROW(cuda_kernel(a.forward_op(), *device_context(), nullptr), Error);
}

}  // namespace
}  // namespace hg::test
