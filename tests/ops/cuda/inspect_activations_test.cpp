// The CUDA bodies of ops/inspect_activations.h, on a simulated device, against the CPU's.
#include "ops/inspect_activations.h"

#include <gtest/gtest.h>

#include <limits>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"
#include "support/op_checks.h"

namespace hg::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(),
                kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  std::int64_t rows, columns, gap;  // elements between rows
  bool shifted = false;             // operands are not 16-byte aligned
};
const std::vector<Case> kCases{{1, 1, 0},         {5, 37, 3},   {130, 24, 0}, {3, 64, 8},
                               {70, 64, 8, true}, {2, 2312, 0}, {0, 16, 0}};

void expect_statistics(const Tensor& cuda, const Tensor& expected, Tensors& host) {
  const Tensor result = to_host(cuda, host);
  for (std::int64_t i = 0; i < expected.numel(); ++i)
    expect_measured(get(result, i), double{get(expected, i)}, fmt::format("statistic {}", i));
}

void check(Context& ctx, const ConstTensor& x, bool shifted, Tensors& host) {
  DeviceTensors device;
  const Tensor out = host.empty({Magnitudes::kStatistics}), cuda = device.copy(out);
  run(ctx, Magnitudes{.out = out, .x = x});
  cuda_kernel(Magnitudes{.out = cuda, .x = copy_slice(device, x, shifted)}, ctx, nullptr);
  expect_statistics(cuda, out, host);
}

TEST(CudaMagnitudes, AgreeWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        Tensors host;
        const Tensor x = host.normal("x", {its.rows, its.columns + its.gap}, dtype, 0.1F)
                             .slice(1, 0, its.columns);
        check(*ctx, x, its.shifted, host);
        if (x.numel() < 2) continue;
        for (const std::int64_t t : {its.rows / 2, its.rows - 1}) {  // the first of equals
          set(x.rows(t, t + 1), its.columns / 3, -70);
          set(x.rows(t, t + 1), its.columns - 1, kNaN);
        }
        set(x, 0, kInfinity);
        check(*ctx, x, its.shifted, host);
      }
    }
  }
}

TEST(CudaMagnitudes, WithoutAFiniteElementAreNaN) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors host;
  check(*ctx, host.normal("x", {3, 5}, DType::f32, 0, kInfinity), false, host);
}

TEST(CudaMagnitudes, JoinAsOnTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    Tensors host;
    DeviceTensors device;
    const Tensor x = host.normal("x", {12, 10}), parts = host.empty({5, Magnitudes::kStatistics});
    for (std::int64_t i = 0; i < 4; ++i) {
      const Tensor part = x.rows(3 * i, 3 * i + 3);
      set(part, 7, i % 2 == 1 ? 50 : kNaN);  // the largest twice
      run(*ctx, Magnitudes{.out = parts.rows(i, i + 1).view({Magnitudes::kStatistics}), .x = part});
    }
    run(*ctx, Magnitudes{.out = parts.rows(4, 5).view({Magnitudes::kStatistics}),
                         .x = host.normal("nothing", {3, 10}, DType::f32, 0, kNaN)});
    for (const bool rows : {false, true}) {
      for (const ConstTensor& some : {ConstTensor(parts), ConstTensor(parts.rows(4, 5))}) {
        JoinMagnitudes op{.out = host.empty({Magnitudes::kStatistics}),
                          .parts = some,
                          .elements = 30,
                          .tokens = rows ? 3 : 0,
                          .channels = rows ? 0 : 10};
        const Tensor expected = op.out;
        run(*ctx, op);
        op.out = device.copy(expected);
        op.parts = device.copy(some);
        cuda_kernel(op, *ctx, nullptr);
        expect_statistics(op.out, expected, host);
      }
    }
  }
}

}  // namespace
}  // namespace hg::test
