// The CUDA bodies of ops/rope.h, on a simulated device, against the CPU's.
#include "ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ops/cuda/kernel.h"
#include "support/device_views.h"

namespace hg::test {
namespace {

constexpr std::int64_t kKv = 2, kG = 3, kPositions = 40;

struct Case {
  std::int64_t tokens, d, half;
  bool norm, shifted = false;  // whether operands are not 16-byte aligned
};
const std::vector<Case> kCases{{5, 64, 32, true},   {5, 64, 32, false},      {3, 48, 10, true},
                               {3, 48, 16, true},   {3, 21, 5, true},        {2, 16, 0, true},
                               {2, 256, 64, false}, {2, 256, 0, true},       {35, 16, 8, true},
                               {1, 128, 64, true},  {2, 64, 32, true, true}, {0, 64, 32, true},
                               {2, 255, 20, true},  {40, 8, 4, false}};

/// Query heads in a fused projection, whose rows also hold other things, on both devices.
struct Rope {
  Tensors host;
  DeviceTensors device;
  HeadNormRopeForward forward{}, cuda_forward{};
  HeadNormRopeBackward backward{}, cuda_backward{};

  Rope(const Case& its, DType dtype, bool accumulate) {
    const Shape shape{its.tokens, kKv, kG, its.d}, heads{its.tokens, kKv, kG};
    const auto fused = [&](const char* name) {
      const std::int64_t width = (kG + 2) * its.d;
      const Tensor buffer = host.normal(name, {its.tokens, kKv * width}, dtype);
      return buffer.split(1, kKv, width).slice(2, its.d, (kG + 1) * its.d).split(2, kG, its.d);
    };
    const Tensor cos = host.empty({kPositions, its.half}), sin = host.empty(cos.shape());
    fill_rope_table(cos, sin, 10000);
    std::vector<std::int32_t> positions;
    for (std::int64_t t = 0; t < its.tokens; ++t)
      positions.push_back(static_cast<int>(t * 7 % kPositions));
    forward = {.y = host.empty(shape, dtype),
               .rstd = its.norm ? host.empty(heads) : Tensor(),
               .x = fused("x"),
               .weight = its.norm ? host.normal("weight", {its.d}, dtype, 0.2F, 1) : Tensor(),
               .cos = cos,
               .sin = sin,
               .positions = host.integers(positions),
               .eps = 1e-6F};
    backward = {.dx = fused("dx"),
                .dweight = its.norm ? host.normal("dweight", {its.d}) : Tensor(),
                .dy = host.normal("dy", shape, dtype),
                .x = forward.x,
                .rstd = forward.rstd,
                .weight = forward.weight,
                .cos = cos,
                .sin = sin,
                .positions = forward.positions,
                .accumulate = accumulate};
    const auto on_device = [&](const ConstTensor& tensor) {
      return copy_slice(device, tensor, its.shifted);
    };
    const Tensor rstd = on_device(forward.rstd);
    cuda_forward = {.y = on_device(forward.y),
                    .rstd = rstd,
                    .x = on_device(forward.x),
                    .weight = on_device(forward.weight),
                    .cos = on_device(cos),
                    .sin = on_device(sin),
                    .positions = device.copy(forward.positions),
                    .eps = forward.eps};
    cuda_backward = {.dx = on_device(backward.dx),
                     .dweight = on_device(backward.dweight),
                     .dy = on_device(backward.dy),
                     .x = cuda_forward.x,
                     .rstd = rstd,
                     .weight = cuda_forward.weight,
                     .cos = cuda_forward.cos,
                     .sin = cuda_forward.sin,
                     .positions = cuda_forward.positions,
                     .accumulate = accumulate};
  }
};

TEST(CudaRope, AgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  bool accumulate = false;
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::f32, DType::bf16}) {
        Rope rope(its, dtype, accumulate);
        run(*ctx, rope.forward);
        run(*ctx, rope.backward);
        cuda_kernel(rope.cuda_forward, *ctx, nullptr);
        cuda_kernel(rope.cuda_backward, *ctx, nullptr);
        expect_same(rope.cuda_forward.y, rope.forward.y, "y");
        expect_same(rope.cuda_forward.rstd, rope.forward.rstd, "rstd");
        expect_same(rope.cuda_backward.dx, rope.backward.dx, "dx");
        expect_same(rope.cuda_backward.dweight, rope.backward.dweight, "dweight");
        accumulate = !accumulate;
      }
    }
    accumulate = !accumulate;  // every schedule has other variants of a case
  }
}

TEST(CudaRope, TheWeightGradientHasTheSameBitsInEveryOrder) {
  const auto ctx = cpu_context(Isa::avx2);
  Tensors host;
  std::vector<Tensor> gradients;
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    Rope rope({.tokens = 70, .d = 16, .half = 8, .norm = true}, DType::f32, false);
    cuda_kernel(rope.cuda_forward, *ctx, nullptr);
    cuda_kernel(rope.cuda_backward, *ctx, nullptr);
    gradients.push_back(to_host(rope.cuda_backward.dweight, host));
  }
  for (const Tensor& gradient : gradients) EXPECT_TRUE(same_bits(gradient, gradients.front()));
}

TEST(CudaRope, APositionOutsideTheTableIsNaN) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Rope rope({.tokens = 3, .d = 16, .half = 8, .norm = true}, DType::f32, false);
  rope.cuda_forward.positions =
      rope.device.copy(rope.host.integers({39, -1, static_cast<std::int32_t>(kPositions)}));
  cuda_kernel(rope.cuda_forward, *ctx, nullptr);
  const Tensor y = to_host(rope.cuda_forward.y, rope.host);
  for (std::int64_t i = 0; i < y.numel(); ++i)
    EXPECT_EQ(std::isnan(get(y, i)), i >= y.numel() / 3) << i;
}

}  // namespace
}  // namespace hg::test
