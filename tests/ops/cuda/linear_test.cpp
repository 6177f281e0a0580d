// The CUDA bodies of ops/linear.h, by the simulated cuBLASLt, against the CPU's.
#include "ops/linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

/// Extents of y = x W^T. With gaps, rows are parts of wider ones and begin at odd elements.
struct Case {
  std::int64_t t, k, n;
  DType dtype;
  bool gaps;
};

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const bool gaps : {false, true}) {
      for (const auto& [t, k, n] : {std::array<std::int64_t, 3>{1, 1, 1},
                                    {5, 16, 8},
                                    {1, 64, 200},
                                    {150, 37, 53},
                                    {64, 130, 40},
                                    {33, 24, 300}}) {
        result.push_back({.t = t, .k = k, .n = n, .dtype = dtype, .gaps = gaps});
      }
    }
  }
  return result;
}

std::unique_ptr<Context> cuda_context() {
  auto ctx = cpu_context(Isa::avx2);
  ctx->device = Device::cuda;
  return ctx;
}

/// A matrix on the host and the same on the device.
struct Matrix {
  Tensor whole, device_whole;  // with gaps
  Tensor host, device;

  Matrix(Tensors& memory, DeviceTensors& device_memory, const char* name, std::int64_t rows,
         std::int64_t columns, const Case& its)
      : whole(memory.normal(name, {rows, columns + (its.gaps ? 7 : 0)}, its.dtype)),
        device_whole(device_memory.copy(whole)),
        host(its.gaps ? whole.slice(1, 3, 3 + columns) : whole),
        device(its.gaps ? device_whole.slice(1, 3, 3 + columns) : device_whole) {}
};

/// One linear layer on both devices.
struct Layer {
  Case its;
  Tensors memory;
  DeviceTensors device;
  Matrix x, weight, dy, y, dx;
  Tensor dweight, device_dweight;
  std::unique_ptr<Context> cpu = cpu_context(Isa::avx2), cuda = cuda_context();

  explicit Layer(const Case& c)
      : its(c),
        x(memory, device, "x", c.t, c.k, c),
        weight(memory, device, "weight", c.n, c.k, c),
        dy(memory, device, "dy", c.t, c.n, c),
        y(memory, device, "y", c.t, c.n, c),
        dx(memory, device, "dx", c.t, c.k, c),
        dweight(memory.normal("dweight", {c.n, c.k})),
        device_dweight(device.copy(dweight)) {}

  LinearForward forward() const { return {.y = y.host, .x = x.host, .weight = weight.host}; }
  LinearForward cuda_forward() const {
    return {.y = y.device, .x = x.device, .weight = weight.device};
  }
  void run_forward() {
    hg::run(*cpu, forward());
    cuda_kernel(cuda_forward(), *cuda, nullptr);
  }
  void run_backward(bool accumulate) {
    hg::run(*cpu, LinearBackwardInput{.dx = dx.host, .dy = dy.host, .weight = weight.host});
    hg::run(*cpu, LinearBackwardWeight{
                      .dweight = dweight, .dy = dy.host, .x = x.host, .accumulate = accumulate});
    cuda_kernel(LinearBackwardInput{.dx = dx.device, .dy = dy.device, .weight = weight.device},
                *cuda, nullptr);
    cuda_kernel(
        LinearBackwardWeight{
            .dweight = device_dweight, .dy = dy.device, .x = x.device, .accumulate = accumulate},
        *cuda, nullptr);
  }
  /// Gaps are compared, too: nothing may have been written there.
  void expect_same(const Tensor& of_device, const Tensor& of_host, const char* what) {
    const double limit = of_host.dtype() == DType::bf16 ? rounding(DType::bf16) : kReordered;
    EXPECT_LT(relative_error(to_host(of_device, memory), of_host), limit)
        << what << ": " << its.t << " x " << its.k << " x " << its.n << " " << name_of(its.dtype)
        << (its.gaps ? " with gaps" : "");
  }
};

TEST(CudaLinear, AgreesWithTheCpu) {
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const Case& its : cases()) {
    for (const bool accumulate : {false, true}) {
      Layer layer(its);
      layer.run_forward();
      layer.run_backward(accumulate);
      layer.expect_same(layer.y.device_whole, layer.y.whole, "y");
      layer.expect_same(layer.dx.device_whole, layer.dx.whole, "dx");
      layer.expect_same(layer.device_dweight, layer.dweight, "dweight");
    }
  }
}

// An algorithm is for shapes and alignments, not for the operands that it was chosen with.
TEST(CudaLinear, TheSameShapesMayComeAtOtherAddresses) {
  const cuda_sim::Simulation simulation({.devices = 1});
  const auto cuda = cuda_context();
  for (const bool shifted : {false, true, false}) {
    Layer layer({.t = 8, .k = 16, .n = 24, .dtype = DType::bf16, .gaps = false});
    LinearForward op = layer.cuda_forward();
    op.x = layer.device.copy(layer.x.host, shifted);
    hg::run(*layer.cpu, layer.forward());
    cuda_kernel(op, *cuda, nullptr);
    layer.expect_same(layer.y.device, layer.y.host, "y");
  }
}

TEST(CudaLinear, AMetaRunForTheDeviceMeasuresTheScratch) {
  const cuda_sim::Simulation simulation({.devices = 1});
  const Layer layer({.t = 8, .k = 16, .n = 24, .dtype = DType::bf16, .gaps = false});
  Context meta;
  meta.device = Device::meta;
  meta.plans_for = Device::cuda;
  hg::run(meta, layer.cuda_forward());
  Context cuda;
  cuda.device = Device::cuda;
  cuda.scratch.reserve(meta.scratch.high_water());
  cuda_kernel(layer.cuda_forward(), cuda, nullptr);
  EXPECT_EQ(cuda.scratch.high_water(), meta.scratch.high_water());
  EXPECT_EQ(cuda.scratch.used(), 0U);
}

TEST(CudaLinear, WhatTheLibraryRefusesIsAnErrorWithTheShape) {
  const cuda_sim::Simulation simulation({.devices = 1});
  const Layer layer({.t = 8, .k = 16, .n = 24, .dtype = DType::bf16, .gaps = false});
  LinearForward op = layer.cuda_forward();
  op.x = layer.x.host;  // which a device cannot read
  try {
    cuda_kernel(op, *layer.cuda, nullptr);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(),
                testing::AllOf(
                    testing::HasSubstr("cuBLASLt cannot multiply [8, 16] by [16, 24], strides 16 "
                                       "and 16 transposed, from bf16 and bf16 to bf16 with stride "
                                       "24: "),
                    testing::HasSubstr("B is not in memory of the device")));
  }
}

}  // namespace
}  // namespace hg::test
