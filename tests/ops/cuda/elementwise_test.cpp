// The CUDA bodies of ops/elementwise.h, on a simulated device, against the CPU's.
#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

struct Case {
  std::int64_t rows, columns, gap;  // elements between rows
  bool shifted = false;             // operands are not 16-byte aligned
};
const std::vector<Case> kCases{{1, 1, 0},    {3, 37, 0},       {20, 37, 3}, {5, 64, 0},
                               {5, 64, 8},   {5, 64, 8, true}, {2, 64, 4},  {0, 16, 0},
                               {300, 16, 0}, {2, 2312, 0}};

/// Calls check(ctx, case, dtype, matrix) in every schedule; matrix(name) lies in a wider one.
template <class Check>
void for_cases(Check&& check) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        Tensors host;
        check(*ctx, its, [&](const char* name) {
          return host.normal(name, {its.rows, its.columns + its.gap}, dtype)
              .slice(1, 0, its.columns);
        });
      }
    }
  }
}

TEST(CudaElementwise, AddHasTheBitsOfTheCpu) {
  for_cases([](Context& ctx, const Case& its, auto&& matrix) {
    for (const bool apart : {false, true}) {
      const Tensor y = matrix("y");
      Add op{.y = y, .x = matrix("x")};
      if (apart) op.base = matrix("base");
      DeviceTensors device;
      Add cuda{.y = copy_slice(device, y, its.shifted),
               .x = copy_slice(device, op.x, its.shifted),
               .base = copy_slice(device, op.base, its.shifted)};
      run(ctx, op);
      cuda_kernel(cuda, ctx, nullptr);
      expect_same_bits(cuda.y, y, "y");
    }
  });
}

TEST(CudaElementwise, ClipHasTheBitsOfTheCpu) {
  for_cases([](Context& ctx, const Case& its, auto&& matrix) {
    for (const bool in_place : {false, true}) {
      const Tensor x = matrix("x"), dy = matrix("dy"), y = in_place ? x : matrix("y"),
                   dx = in_place ? dy : matrix("dx");
      if (x.numel() > 4) set(x, 4, INFINITY);
      DeviceTensors device;
      const auto on_device = [&](const Tensor& slice) {
        return copy_slice(device, slice, its.shifted);
      };
      const Tensor cuda_x = on_device(x), cuda_y = in_place ? cuda_x : on_device(y);
      const Tensor cuda_dy = on_device(dy), cuda_dx = in_place ? cuda_dy : on_device(dx);
      run(ctx, ClipForward{.y = y, .x = x, .limit = 0.8F});
      run(ctx, ClipBackward{.dx = dx, .dy = dy, .y = y, .limit = 0.8F});
      cuda_kernel(ClipForward{.y = cuda_y, .x = cuda_x, .limit = 0.8F}, ctx, nullptr);
      cuda_kernel(ClipBackward{.dx = cuda_dx, .dy = cuda_dy, .y = cuda_y, .limit = 0.8F}, ctx,
                  nullptr);
      expect_same_bits(cuda_y, y, "y");
      expect_same_bits(cuda_dx, dx, "dx");
    }
  });
}

TEST(CudaElementwise, ClipKeepsNaN) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Tensors host;
    DeviceTensors device;
    const Tensor x = host.normal("x", {1, 20}, dtype), y = device.empty({1, 20}, dtype);
    set(x, 3, NAN);
    cuda_kernel(ClipForward{.y = y, .x = device.copy(x), .limit = 0.8F}, *ctx, nullptr);
    const Tensor result = to_host(y, host);
    for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(std::isnan(get(result, i)), i == 3) << i;
  }
}

TEST(CudaElementwise, ZeroWritesZerosAndNothingBeyond) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const DType dtype : {DType::f32, DType::bf16, DType::i32}) {
    for (const std::int64_t rows : {0, 1, 40}) {
      Tensors host;
      DeviceTensors device;
      const Tensor around = host.empty({rows + 2, 13}, dtype), cuda = device.copy(around);
      run(*ctx, Zero{.y = around.rows(1, rows + 1)});
      cuda_kernel(Zero{.y = cuda.rows(1, rows + 1)}, *ctx, nullptr);
      expect_same_bits(cuda, around, "around");
    }
  }
}

}  // namespace
}  // namespace hg::test
