// The CUDA bodies of ops/inspect_attention.h, on a simulated device, against the CPU's.
#include "ops/inspect_attention.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/device_attention.h"
#include "support/op_checks.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

const Engine kCpu{"", Isa::avx2, {}};

struct Case {
  Dims dims;
  std::vector<std::int32_t> lengths;
  std::vector<TokenRun> runs;  // of queries; empty: all
};
const std::vector<Case> kCases{
    {{2, 2, 16}, {1, 37, 0, 5}, {}}, {{1, 3, 64}, {63, 2, 1, 70}, {}},
    {{1, 2, 19}, {90}, {}},          {{1, 1, 128}, {70, 20}, {}},
    {{1, 2, 256}, {40, 3}, {}},      {{2, 2, 64}, {30, 100}, {{0, 10}, {100, 130}}}};

/// Runs `op` on the CPU, then `on_device(device)`, which is the op with operands there, in every
/// schedule; every value is to be as measured.
template <class Op, class OnDevice>
void expect_same_as_cpu(const Op& op, OnDevice&& on_device) {
  const auto cpu = cpu_context(Isa::avx2);
  run(*cpu, op);
  Tensors host;
  std::vector<Tensor> results;
  for (const cuda_sim::Options& options : attention_schedules()) {
    const cuda_sim::Simulation simulation(options);
    DeviceTensors device;
    const auto ctx = device_context();
    Op cuda = on_device(device);
    const Tensor out = device.empty(op.out.shape());
    cuda.out = out;
    cuda_kernel(cuda, *ctx, nullptr);
    EXPECT_EQ(ctx->scratch.used(), 0U);
    results.push_back(to_host(out, host));
    EXPECT_TRUE(same_bits(results.back(), results.front()));
  }
  for (std::int64_t i = 0; i < op.out.numel(); ++i)
    expect_measured(get(results.front(), i), double{get(op.out, i)}, fmt::format("value {}", i));
}

/// The op with its operands copied, positions too where it has some.
template <class Op>
Op copied(Op op, DeviceTensors& device) {
  op.q = device.copy(op.q);
  op.k = device.copy(op.k);
  op.lse = device.copy(op.lse);
  op.documents = device.copy(op.documents);
  if constexpr (requires { op.keys; }) {
    if (op.keys) op.keys = device.copy(op.keys);
  }
  if constexpr (requires { op.positions; }) op.positions = device.copy(op.positions);
  return op;
}

/// Calls fn(attention, queries, documents, keys, lse) for each case and element type.
template <class Fn>
void for_cases(Fn&& fn) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Case& its : kCases) {
      SCOPED_TRACE(fmt::format("{} G={} D={}", name_of(dtype), its.dims.g, its.dims.d));
      Attention a(kCpu, dtype, its.dims, its.lengths);
      if (its.runs.empty()) {
        a.forward();
        fn(a, a.q, a.documents, ConstTensor(), a.lse);
      } else {
        AttentionPart part(a, its.runs);
        a.run_op(part.forward_op());
        fn(a, part.q, part.documents, ConstTensor(part.keys), part.lse);
      }
    }
  }
}

TEST(CudaInspectAttention, EntropyAgreesWithTheCpu) {
  for_cases([](Attention& a, const Tensor& q, const Tensor& documents, const ConstTensor& keys,
               const Tensor& lse) {
    const AttentionEntropy op{.out = a.memory.empty({a.dims.kv * a.dims.g, 2}),
                              .q = q,
                              .k = a.k,
                              .lse = lse,
                              .documents = documents,
                              .keys = keys,
                              .longest = a.t,
                              .scale = a.scale};
    expect_same_as_cpu(op, [&](DeviceTensors& device) { return copied(op, device); });
  });
}

TEST(CudaInspectAttention, FirstTokenShareAgreesWithTheCpu) {
  for_cases([](Attention& a, const Tensor& q, const Tensor& documents, const ConstTensor& keys,
               const Tensor& lse) {
    std::vector<std::int32_t> positions;
    for (const Place& place : places(a)) positions.push_back(static_cast<int>(place.position));
    const FirstTokenShare op{.out = a.memory.empty({a.dims.kv * a.dims.g, 2}),
                             .q = q,
                             .k = a.k,
                             .lse = lse,
                             .documents = documents,
                             .keys = keys,
                             .positions = a.memory.integers(positions),
                             .scale = a.scale};
    expect_same_as_cpu(op, [&](DeviceTensors& device) { return copied(op, device); });
  });
}

TEST(CudaInspectAttention, MapAgreesWithTheCpu) {
  for_cases([](Attention& a, const Tensor& q, const Tensor& documents, const ConstTensor& keys,
               const Tensor& lse) {
    if (keys) return;  // it has whole documents
    const AttentionMap op{.out = a.memory.empty({a.dims.kv * a.dims.g, a.t, a.t}),
                          .q = q,
                          .k = a.k,
                          .lse = lse,
                          .documents = documents,
                          .scale = a.scale};
    expect_same_as_cpu(op, [&](DeviceTensors& device) { return copied(op, device); });
  });
}

TEST(CudaInspectAttention, WhatIsNotFiniteShowsInItsHead) {
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const float value : {NAN, INFINITY}) {
    Attention a(kCpu, DType::f32, {.kv = 1, .g = 2, .d = 32}, {40});
    set(a.q, (35 * 2 + 1) * 32, value);  // head 1
    a.forward();
    DeviceTensors device;
    const auto ctx = device_context();
    AttentionEntropy op{.out = device.empty({2, 2}),
                        .q = device.copy(a.q),
                        .k = device.copy(a.k),
                        .lse = device.copy(a.lse),
                        .documents = device.copy(a.documents),
                        .longest = a.t,
                        .scale = a.scale};
    cuda_kernel(op, *ctx, nullptr);
    const Tensor out = to_host(op.out, a.memory);
    EXPECT_TRUE(std::isfinite(get(out, 0)) && std::isfinite(get(out, 1)));
    EXPECT_TRUE(std::isnan(get(out, 2)) && std::isnan(get(out, 3)));
  }
}

}  // namespace
}  // namespace hg::test
