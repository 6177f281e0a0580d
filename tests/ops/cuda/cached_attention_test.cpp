// The CUDA body of CachedAttention, on a simulated device, against the CPU's.
#include "ops/cached_attention.h"

#include <gtest/gtest.h>

#include "support/compare.h"
#include "support/device_attention.h"
#include "support/op_checks.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

enum class Sink { none, zero, learned };

struct Case {
  std::int64_t n, cached, kv, g, d;
  DType dtype;
  Sink sink;
};

void expect_same_as_cpu(const Case& its) {
  SCOPED_TRACE(fmt::format("{} n={} P={} KV={} G={} D={}", name_of(its.dtype), its.n, its.cached,
                           its.kv, its.g, its.d));
  const auto cpu = cpu_context(Isa::avx2), ctx = device_context();
  Tensors host;
  const Tensor q = host.normal("q", {its.n, its.kv, its.g, its.d}, its.dtype);
  const Tensor k = host.normal("k", {its.cached, its.kv, 1, its.d}, its.dtype);
  const Tensor v = host.normal("v", k.shape(), its.dtype), o = host.empty(q.shape(), its.dtype);
  const Tensor sinks = host.normal("sinks", {its.kv, its.g}, its.dtype, 2);
  CachedAttention op{.o = o,
                     .q = q,
                     .k = k,
                     .v = v,
                     .scale = 1 / std::sqrt(static_cast<float>(its.d)),
                     .sink = its.sink != Sink::none};
  if (its.sink == Sink::learned) op.sinks = sinks;
  run(*cpu, op);
  std::vector<Tensor> results;
  for (const cuda_sim::Options& options : attention_schedules()) {
    const cuda_sim::Simulation simulation(options);
    DeviceTensors device;
    CachedAttention cuda = op;
    cuda.o = device.copy(o), cuda.q = device.copy(q), cuda.k = device.copy(k),
    cuda.v = device.copy(v);
    if (op.sinks) cuda.sinks = device.copy(sinks);
    cuda_kernel(cuda, *ctx, nullptr);
    results.push_back(to_host(cuda.o, host));
    EXPECT_TRUE(same_bits(results.back(), results.front()));
  }
  EXPECT_LT(relative_error(results.front(), o), rounding(its.dtype));
  EXPECT_EQ(ctx->scratch.used(), 0U);
}

TEST(CudaCachedAttention, AgreesWithTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Case& its : std::initializer_list<Case>{
             {1, 1, 1, 1, 16, dtype, Sink::none},
             {1, 300, 2, 2, 64, dtype, Sink::zero},  // in pieces
             {3, 290, 1, 4, 128, dtype, Sink::learned},
             {2, 2, 1, 3, 19, dtype, Sink::learned},
             {40, 70, 1, 2, 64, dtype, Sink::none},  // more than a tile of rows
             {1, 40, 1, 2, 256, dtype, Sink::zero},
         }) {
      expect_same_as_cpu(its);
    }
  }
}

TEST(CudaCachedAttention, NeedsLessScratchThanTheProbabilities) {
  Tensors host;
  const Tensor q = host.zeros({1, 2, 4, 64}), k = host.zeros({5000, 2, 1, 64});
  const CachedAttention op{.o = host.empty(q.shape()), .q = q, .k = k, .v = k, .scale = 1};
  Context meta;
  meta.device = Device::meta;
  run(meta, op);
  const std::size_t of_cpu = meta.scratch.high_water();
  Context device;
  device.device = Device::meta;
  device.plans_for = Device::cuda;
  run(device, op);
  EXPECT_LT(device.scratch.high_water(), of_cpu);
  const ArenaScope scope(device.scratch);
  EXPECT_EQ(op.scratch(device).shape(), (Shape{39, 8, 66}));
}

}  // namespace
}  // namespace hg::test
