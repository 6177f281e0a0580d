// The CUDA bodies of ops/sink.h, on a simulated device, against the CPU's.
#include "ops/sink.h"

#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

struct Case {
  std::int64_t tokens, kv, g, d, gap;  // elements between heads
  bool shifted = false;                // operands are not 16-byte aligned
};
const std::vector<Case> kCases{{1, 2, 3, 16, 0}, {5, 2, 1, 19, 3},        {130, 1, 2, 24, 0},
                               {3, 2, 2, 64, 8}, {70, 2, 1, 64, 8, true}, {2, 1, 3, 256, 0},
                               {0, 2, 2, 16, 0}};

struct Sinks {
  Tensors host;
  Tensor o, d_o, lse, sinks, dsinks;

  Sinks(const Case& its, DType dtype) {
    const auto heads = [&](const char* name) {
      return host.normal(name, {its.tokens, its.kv, its.g, its.d + its.gap}, dtype)
          .slice(3, 0, its.d);
    };
    o = heads("o");
    d_o = heads("d_o");
    lse = host.normal("lse", {its.kv, its.g, its.tokens}, DType::f32, 3);
    sinks = host.normal("sinks", {its.kv, its.g}, dtype, 1, 1);
    dsinks = host.normal("dsinks", {its.kv, its.g});
  }
};

TEST(CudaSink, ForwardAgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const bool learned : {false, true}) {
          Sinks a(its, dtype);
          DeviceTensors device;
          if (!learned) a.sinks = {};
          const SinkForward cuda{.o = copy_slice(device, a.o, its.shifted),
                                 .lse = copy_slice(device, a.lse, its.shifted),
                                 .sinks = copy_slice(device, a.sinks, its.shifted)};
          run(*ctx, SinkForward{.o = a.o, .lse = a.lse, .sinks = a.sinks});
          cuda_kernel(cuda, *ctx, nullptr);
          expect_same(cuda.o, a.o, "o");
          expect_same(cuda.lse, a.lse, "lse");
        }
      }
    }
  }
}

TEST(CudaSink, BackwardAgreesWithTheCpuAndHasTheSameBitsInEveryOrder) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const Case& its : kCases) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool accumulate : {false, true}) {
        Sinks a(its, dtype);
        const Tensor before = a.host.copy(a.dsinks, DType::f32);
        run(*ctx, SinkBackward{.dsinks = a.dsinks,
                               .d_o = a.d_o,
                               .o = a.o,
                               .lse = a.lse,
                               .sinks = a.sinks,
                               .accumulate = accumulate});
        std::vector<Tensor> results;
        for (const cuda_sim::Options& options : schedules()) {
          const cuda_sim::Simulation simulation(options);
          DeviceTensors device;
          const SinkBackward cuda{.dsinks = device.copy(before),
                                  .d_o = copy_slice(device, a.d_o, its.shifted),
                                  .o = copy_slice(device, a.o, its.shifted),
                                  .lse = device.copy(a.lse),
                                  .sinks = device.copy(a.sinks),
                                  .accumulate = accumulate};
          cuda_kernel(cuda, *ctx, nullptr);
          results.push_back(to_host(cuda.dsinks, a.host));
          EXPECT_TRUE(same_bits(results.back(), results.front()));
        }
        EXPECT_LT(relative_error(results.front(), a.dsinks), kReordered);
      }
    }
  }
}

}  // namespace
}  // namespace hg::test
