// The CUDA bodies of ops/fp8.h, on a simulated device, against the CPU's.
#include "ops/fp8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ops/cuda/kernel.h"
#include "support/compare.h"
#include "support/device_tensors.h"
#include "support/fp8.h"
#include "support/tolerance.h"

namespace hg::test {
namespace {

constexpr Fp8Blocks kBlocks[] = {Fp8Blocks::whole, Fp8Blocks::rows, Fp8Blocks::squares};

std::unique_ptr<Context> cuda_context() {
  auto ctx = cpu_context(Isa::avx2);
  ctx->device = Device::cuda;
  return ctx;
}

Fp8Matrix copy(DeviceTensors& device, const Fp8Matrix& matrix) {
  if (!matrix) return {};
  return {.values = device.copy(matrix.values),
          .scales = device.copy(matrix.scales),
          .blocks = matrix.blocks};
}

Fp8Quantize copy(DeviceTensors& device, const Fp8Quantize& op) {
  return {.matrix = copy(device, op.matrix),
          .transpose = copy(device, op.transpose),
          .x = device.copy(op.x)};
}

void expect_same(const Fp8Matrix& of_device, const Fp8Matrix& of_host, const char* what) {
  if (!of_host) return;
  Tensors memory;
  EXPECT_TRUE(same_bits(to_host(of_device.values, memory), of_host.values)) << what;
  EXPECT_TRUE(same_bits(to_host(of_device.scales, memory), of_host.scales)) << what;
}

/// A matrix to quantise, with and without its transpose.
struct Case {
  std::int64_t rows, columns;
  bool matrix = true, transpose = true;
};
const std::vector<Case> kCases{
    {16, 16},   {144, 272},        {272, 144, false},      {128, 384, true, false},
    {32, 1040}, {1040, 32, false}, {256, 128, true, false}};

TEST(CudaFp8, QuantizesToTheBitsOfTheCpu) {
  const auto cpu = cpu_context(Isa::avx2), cuda = cuda_context();
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    for (const Case& its : kCases) {
      for (const DType dtype : {DType::e4m3, DType::e5m2}) {
        for (const Fp8Blocks blocks : kBlocks) {
          Tensors memory;
          DeviceTensors device;
          const Tensor x = memory.normal("x", {its.rows, its.columns}, DType::bf16);
          for (std::int64_t i = 0; i < x.numel(); i += 7) set(x, i, get(x, i) * 1e-3F);
          const auto room = [&](bool wanted, std::int64_t rows, std::int64_t columns) {
            return wanted ? fp8_room(memory, dtype, blocks, rows, columns) : Fp8Matrix{};
          };
          const Fp8Quantize op{.matrix = room(its.matrix, its.rows, its.columns),
                               .transpose = room(its.transpose, its.columns, its.rows),
                               .x = x};
          const Fp8Quantize on_device = copy(device, op);
          run(*cpu, op);
          cuda_kernel(on_device, *cuda, nullptr);
          SCOPED_TRACE(testing::Message() << its.rows << " x " << its.columns << " "
                                          << name_of(dtype) << " " << int(blocks));
          expect_same(on_device.matrix, op.matrix, "matrix");
          expect_same(on_device.transpose, op.transpose, "transpose");
        }
      }
    }
  }
}

TEST(CudaFp8, NaNReachesItsBlockAlone) {
  const auto cpu = cpu_context(Isa::avx2), cuda = cuda_context();
  const cuda_sim::Simulation simulation({.devices = 1});
  for (const float bad : {INFINITY, NAN}) {
    for (const Fp8Blocks blocks : kBlocks) {
      Tensors memory;
      DeviceTensors device;
      const Tensor x = memory.normal("x", {144, 272}, DType::bf16);
      set(x, 130 * 272 + 200, bad);
      const Fp8Quantize op{.matrix = fp8_room(memory, DType::e4m3, blocks, 144, 272),
                           .transpose = fp8_room(memory, DType::e4m3, blocks, 272, 144),
                           .x = x};
      const Fp8Quantize on_device = copy(device, op);
      run(*cpu, op);
      cuda_kernel(on_device, *cuda, nullptr);
      for (const auto& [its, theirs] :
           {std::pair{on_device.matrix, op.matrix}, {on_device.transpose, op.transpose}}) {
        const Fp8Matrix back{.values = to_host(its.values, memory),
                             .scales = to_host(its.scales, memory),
                             .blocks = blocks};
        for (std::int64_t row = 0; row < back.values.dim(0); ++row) {
          for (std::int64_t column = 0; column < back.values.dim(1); ++column) {
            const double a = fp8_value(back, row, column), b = fp8_value(theirs, row, column);
            ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << row << " " << column;
          }
        }
      }
    }
  }
}

TEST(CudaFp8, ProductsAgreeWithTheCpu) {
  const cuda_sim::Simulation simulation({.devices = 1});
  const auto cpu = cpu_context(Isa::avx2), cuda = cuda_context();
  struct Product {
    std::int64_t m, n, k;
    DType a, b, c;
    bool accumulate;
  };
  for (const auto& [m, n, k, a_type, b_type, c_type, accumulate] :
       {Product{144, 160, 272, DType::e4m3, DType::e4m3, DType::bf16, false},
        Product{144, 160, 272, DType::e5m2, DType::e4m3, DType::bf16, false},
        Product{32, 16, 400, DType::e5m2, DType::e4m3, DType::f32, true},
        Product{16, 16, 16, DType::e4m3, DType::e5m2, DType::f32, false}}) {
    for (const auto& [of_a, of_b] : {std::pair{Fp8Blocks::whole, Fp8Blocks::whole},
                                     {Fp8Blocks::rows, Fp8Blocks::squares},
                                     {Fp8Blocks::squares, Fp8Blocks::rows},
                                     {Fp8Blocks::rows, Fp8Blocks::rows}}) {
      Tensors memory;
      DeviceTensors device;
      const auto quantized = [&](const char* name, DType dtype, Fp8Blocks blocks,
                                 std::int64_t rows) {
        const Fp8Matrix matrix = fp8_room(memory, dtype, blocks, rows, k);
        run(*cpu, Fp8Quantize{.matrix = matrix,
                              .transpose = {},
                              .x = memory.normal(name, {rows, k}, DType::bf16)});
        return matrix;
      };
      const Fp8Product op{.c = memory.normal("c", {m, n}, c_type),
                          .a = quantized("a", a_type, of_a, m),
                          .b = quantized("b", b_type, of_b, n),
                          .accumulate = accumulate};
      const Fp8Product on_device{.c = device.copy(op.c),
                                 .a = copy(device, op.a),
                                 .b = copy(device, op.b),
                                 .accumulate = accumulate};
      run(*cpu, op);
      cuda_kernel(on_device, *cuda, nullptr);
      EXPECT_LT(relative_error(to_host(on_device.c, memory), op.c),
                c_type == DType::bf16 ? rounding(c_type) : kReordered)
          << int(of_a) << int(of_b);
    }
  }
}

TEST(CudaFp8, AMetaRunForTheDeviceMeasuresTheScratch) {
  const cuda_sim::Simulation simulation({.devices = 1});
  Tensors memory;
  DeviceTensors device;
  const Tensor x = device.copy(memory.normal("x", {32, 48}, DType::bf16));
  const Fp8Matrix room = copy(device, fp8_room(memory, DType::e4m3, Fp8Blocks::whole, 32, 48));
  const Fp8Quantize quantize{.matrix = room, .transpose = {}, .x = x};
  const Fp8Product product{.c = device.empty({32, 32}), .a = room, .b = room, .accumulate = false};
  Context meta;
  meta.device = Device::meta;
  meta.plans_for = Device::cuda;
  run(meta, quantize);
  run(meta, product);
  Context cuda;
  cuda.device = Device::cuda;
  cuda.scratch.reserve(meta.scratch.high_water());
  cuda_kernel(quantize, cuda, nullptr);
  cuda_kernel(product, cuda, nullptr);
  expect_cuda(cudaDeviceSynchronize());  // while the scratch lives
  EXPECT_EQ(cuda.scratch.high_water(), meta.scratch.high_water());
  EXPECT_EQ(cuda.scratch.used(), 0U);
}

TEST(CudaFp8, WhatTheGpuDoesNotHaveIsAnErrorWithTheShape) {
  const auto message = [&](int architecture, Fp8Blocks blocks) -> std::string {
    const cuda_sim::Simulation simulation({.devices = 1, .architecture = architecture});
    const auto cuda = cuda_context();
    Tensors memory;
    DeviceTensors device;
    const Fp8Matrix a = copy(device, fp8_room(memory, DType::e4m3, blocks, 32, 48));
    const Fp8Product op{.c = device.empty({32, 32}), .a = a, .b = a, .accumulate = false};
    try {
      cuda_kernel(op, *cuda, nullptr);
      expect_cuda(cudaDeviceSynchronize());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  using testing::HasSubstr;
  EXPECT_EQ(message(90, Fp8Blocks::rows), "");
  EXPECT_EQ(message(100, Fp8Blocks::whole), "");
  EXPECT_THAT(message(80, Fp8Blocks::whole),
              testing::AllOf(HasSubstr("cannot multiply [32, 48] by [48, 32]"),
                             HasSubstr("from e4m3 and e4m3 to f32"), HasSubstr("no FP8 on sm_80")));
  EXPECT_THAT(message(100, Fp8Blocks::rows), HasSubstr("blocks of 128 have no scales on sm_100"));
}

}  // namespace
}  // namespace hg::test
