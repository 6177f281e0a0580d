// The CUDA bodies of ops/reduce.h, on a simulated device, against the CPU's.
#include "ops/reduce.h"

#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

struct Case {
  std::int64_t tokens, width, gap;  // elements between rows
  bool shifted = false;             // operands are not 16-byte aligned
};
const std::vector<Case> kCases{{1, 1, 0},         {5, 37, 3},  {130, 24, 0}, {3, 64, 8},
                               {70, 64, 8, true}, {2, 520, 0}, {0, 16, 0}};

TEST(CudaReduce, SumOverTokensAgreesWithTheCpuAndHasTheSameBitsInEveryOrder) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const Case& its : kCases) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool accumulate : {false, true}) {
        Tensors host;
        const Tensor x =
            host.normal("x", {its.tokens, its.width + its.gap}, dtype).slice(1, 0, its.width);
        const Tensor dparam = host.normal("before", {its.width}),
                     before = host.copy(dparam, DType::f32);
        run(*ctx, SumTokens{.dparam = dparam, .x = x, .accumulate = accumulate});
        std::vector<Tensor> results;
        for (const cuda_sim::Options& options : schedules()) {
          const cuda_sim::Simulation simulation(options);
          DeviceTensors device;
          const Tensor sum = device.copy(before, its.shifted);
          cuda_kernel(
              SumTokens{
                  .dparam = sum, .x = copy_slice(device, x, its.shifted), .accumulate = accumulate},
              *ctx, nullptr);
          results.push_back(to_host(sum, host));
          EXPECT_TRUE(same_bits(results.back(), results.front()));
        }
        EXPECT_LT(relative_error(results.front(), dparam), kReordered) << its.tokens;
      }
    }
  }
}

void check_heads(Context& ctx, const Case& its, DType dtype, Activation activation) {
  constexpr std::int64_t kKv = 2, kG = 3;
  Tensors host;
  DeviceTensors device;
  const auto heads = [&](const char* name) {
    return host.normal(name, {its.tokens, kKv, kG, its.width + its.gap}, dtype)
        .slice(3, 0, its.width);
  };
  const auto shared = [&](const char* name) {
    return host.normal(name, {its.tokens, 1, 1, its.width + its.gap}, dtype).slice(3, 0, its.width);
  };
  const SumHeadsForward forward{
      .y = shared("y"), .x = heads("x"), .activation = activation, .factor = 0.3F};
  const bool in_place = its.gap == 0;
  const Tensor same = heads("x");
  const SumHeadsBackward backward{.dx = in_place ? same : heads("dx"),
                                  .dy = shared("dy"),
                                  .x = same,
                                  .activation = activation,
                                  .factor = 0.3F};
  SumHeadsForward cuda_forward = forward;
  cuda_forward.y = copy_slice(device, forward.y, its.shifted);
  cuda_forward.x = copy_slice(device, forward.x, its.shifted);
  SumHeadsBackward cuda_backward = backward;
  const Tensor cuda_x = copy_slice(device, backward.x, its.shifted);
  cuda_backward.x = cuda_x;
  cuda_backward.dx = in_place ? cuda_x : copy_slice(device, backward.dx, its.shifted);
  cuda_backward.dy = copy_slice(device, backward.dy, its.shifted);
  run(ctx, forward);
  run(ctx, backward);
  cuda_kernel(cuda_forward, ctx, nullptr);
  cuda_kernel(cuda_backward, ctx, nullptr);
  expect_same(cuda_forward.y, forward.y, "y");
  expect_same(cuda_backward.dx, backward.dx, "dx");
}

TEST(CudaReduce, SumsOverHeadsAgreeWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        for (const Activation activation :
             {Activation::sigmoid, Activation::silu, Activation::ns_sigmoid, Activation::identity})
          check_heads(*ctx, its, dtype, activation);
      }
    }
  }
}

}  // namespace
}  // namespace hg::test
