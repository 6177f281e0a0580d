// The CUDA bodies of ops/norm.h, on a simulated device, against the CPU's.
#include "ops/norm.h"

#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr float kEps = 1e-6F;

struct Case {
  std::int64_t rows, d;
  DType dtype;
  bool shifted;  // operands are not 16-byte aligned
};

/// The same norm on both devices.
struct Norms {
  Case its;
  Tensors host;
  DeviceTensors device;
  Context& ctx;
  Tensor x, delta, weight, dy, dsum;

  Norms(const Case& its_case, Context& its_ctx) : its(its_case), ctx(its_ctx) {
    const Shape shape{its.rows, its.d};
    x = host.normal("x", shape, its.dtype);
    delta = host.normal("delta", shape, its.dtype);
    weight = host.normal("weight", {its.d}, its.dtype, 0.2F, 1);
    dy = host.normal("dy", shape, its.dtype);
    dsum = host.normal("dsum", shape, its.dtype);
  }
  Tensor on_device(const ConstTensor& tensor) { return device.copy(tensor, its.shifted); }
  Tensor like(const ConstTensor& tensor) { return host.empty(tensor.shape(), tensor.dtype()); }
  void expect_same(const ConstTensor& on_device, const ConstTensor& on_host, const char* what) {
    EXPECT_LT(relative_error(to_host(on_device, host), on_host), rounding(on_host.dtype()))
        << what << " [" << its.rows << ", " << its.d << "] " << name_of(its.dtype);
  }
};

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const std::int64_t d : {7, 33, 64, 130})
      result.push_back({.rows = 3, .d = d, .dtype = dtype, .shifted = false});
    result.push_back({.rows = 130, .d = 24, .dtype = dtype, .shifted = false});
    result.push_back({.rows = 65, .d = 40, .dtype = dtype, .shifted = true});
    result.push_back({.rows = 2, .d = 4104, .dtype = dtype, .shifted = false});
    result.push_back({.rows = 0, .d = 16, .dtype = dtype, .shifted = false});
  }
  return result;
}

TEST(CudaNorm, ForwardAgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : cases()) {
      Norms norms(its, *ctx);
      const Tensor y = norms.like(norms.x), rstd = norms.host.empty({its.rows});
      const RmsNormForward op{
          .y = y, .rstd = rstd, .x = norms.x, .weight = norms.weight, .eps = kEps};
      run(norms.ctx, op);
      RmsNormForward cuda = op;
      cuda.x = norms.on_device(norms.x);
      cuda.weight = norms.on_device(norms.weight);
      cuda.y = norms.on_device(norms.like(y));
      cuda.rstd = norms.device.empty({its.rows});
      cuda_kernel(cuda, norms.ctx, nullptr);
      norms.expect_same(cuda.y, y, "y");
      norms.expect_same(cuda.rstd, rstd, "rstd");
    }
  }
}

TEST(CudaNorm, FusedForwardAgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : cases()) {
      Norms norms(its, *ctx);
      const Tensor y = norms.like(norms.x), sum = norms.like(norms.x),
                   rstd = norms.host.empty({its.rows});
      const AddRmsNormForward op{.y = y,
                                 .sum = sum,
                                 .rstd = rstd,
                                 .x = norms.x,
                                 .delta = norms.delta,
                                 .weight = norms.weight,
                                 .eps = kEps};
      run(norms.ctx, op);
      AddRmsNormForward cuda = op;
      cuda.x = norms.on_device(norms.x);
      cuda.delta = norms.on_device(norms.delta);
      cuda.weight = norms.on_device(norms.weight);
      cuda.y = norms.on_device(norms.like(y));
      cuda.sum = norms.on_device(norms.like(sum));
      cuda.rstd = norms.device.empty({its.rows});
      cuda_kernel(cuda, norms.ctx, nullptr);
      EXPECT_TRUE(same_bits(to_host(cuda.sum, norms.host), sum));
      norms.expect_same(cuda.y, y, "y");
      norms.expect_same(cuda.rstd, rstd, "rstd");
    }
  }
}

/// Runs the backward on both devices; dx takes dy's place if `in_place`.
void check_backward(Context& ctx, const Case& its, bool residual, bool accumulate, bool in_place) {
  Norms norms(its, ctx);
  const Tensor y = norms.like(norms.x), rstd = norms.host.empty({its.rows}),
               dx = norms.like(norms.x), dweight = norms.host.normal("before", {its.d});
  run(norms.ctx,
      RmsNormForward{.y = y, .rstd = rstd, .x = norms.x, .weight = norms.weight, .eps = kEps});
  const RmsNormBackward op{.dx = dx,
                           .dweight = dweight,
                           .dy = norms.dy,
                           .x = norms.x,
                           .rstd = rstd,
                           .weight = norms.weight,
                           .dresidual = residual ? ConstTensor(norms.dsum) : ConstTensor(),
                           .accumulate = accumulate};
  RmsNormBackward cuda = op;
  const Tensor dy = norms.on_device(norms.dy);
  cuda.dy = dy;
  cuda.dx = in_place ? dy : norms.on_device(norms.like(dx));
  cuda.dweight = norms.device.copy(dweight);
  cuda.x = norms.on_device(norms.x);
  cuda.rstd = norms.device.copy(rstd);
  cuda.weight = norms.on_device(norms.weight);
  if (residual) cuda.dresidual = norms.on_device(norms.dsum);
  run(norms.ctx, op);
  cuda_kernel(cuda, norms.ctx, nullptr);
  norms.expect_same(cuda.dx, dx, "dx");
  norms.expect_same(cuda.dweight, dweight, "dweight");
}

TEST(CudaNorm, BackwardAgreesWithTheCpu) {
  const auto ctx = cpu_context(Isa::avx2);
  int run = 0;
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : cases()) {
      check_backward(*ctx, its, run % 2 == 0, run / 2 % 2 == 0, its.rows % 2 == 1);
      ++run;
    }
    ++run;  // every schedule has other variants of a case
  }
}

TEST(CudaNorm, TheWeightGradientHasTheSameBitsInEveryOrder) {
  const auto ctx = cpu_context(Isa::avx2);
  Tensors host;
  std::vector<Tensor> gradients;
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    Norms norms({.rows = 150, .d = 48, .dtype = DType::f32, .shifted = false}, *ctx);
    const Tensor dweight = norms.device.empty({48});
    cuda_kernel(RmsNormBackward{.dx = norms.device.empty({150, 48}),
                                .dweight = dweight,
                                .dy = norms.on_device(norms.dy),
                                .x = norms.on_device(norms.x),
                                .rstd = norms.device.copy(host.normal("rstd", {150})),
                                .weight = norms.on_device(norms.weight),
                                .dresidual = {},
                                .accumulate = false},
                norms.ctx, nullptr);
    gradients.push_back(to_host(dweight, host));
  }
  for (const Tensor& gradient : gradients) EXPECT_TRUE(same_bits(gradient, gradients.front()));
}

TEST(CudaNorm, ARowThatDoesNotFitIntoSharedMemoryIsAnError) {
  const auto ctx = cpu_context(Isa::avx2);
  const cuda_sim::Simulation simulation({.devices = 1});
  Norms norms({.rows = 1, .d = 70000, .dtype = DType::f32, .shifted = false}, *ctx);
  const Tensor y = norms.device.empty({1, 70000}), rstd = norms.device.empty({1});
  EXPECT_THROW(cuda_kernel(RmsNormForward{.y = y,
                                          .rstd = rstd,
                                          .x = norms.on_device(norms.x),
                                          .weight = norms.on_device(norms.weight),
                                          .eps = kEps},
                           norms.ctx, nullptr),
               Error);
}

}  // namespace
}  // namespace hg::test
