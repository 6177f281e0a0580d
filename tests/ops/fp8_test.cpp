#include "ops/fp8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "support/compare.h"
#include "support/fp8.h"
#include "support/paths.h"
#include "support/tolerance.h"
#include "train/safetensors.h"

namespace hg::test {
namespace {

constexpr std::pair<Fp8Blocks, const char*> kBlocks[] = {
    {Fp8Blocks::whole, "whole"}, {Fp8Blocks::rows, "rows"}, {Fp8Blocks::squares, "squares"}};
constexpr DType kTypes[] = {DType::e4m3, DType::e5m2};

class Fp8OpsTest : public testing::TestWithParam<Isa> {
 protected:
  Fp8Matrix room(DType dtype, Fp8Blocks blocks, std::int64_t rows, std::int64_t columns) {
    return fp8_room(memory, dtype, blocks, rows, columns);
  }
  Fp8Matrix quantized(const ConstTensor& x, DType dtype, Fp8Blocks blocks) {
    const Fp8Matrix matrix = room(dtype, blocks, x.dim(0), x.dim(1));
    run(*ctx, Fp8Quantize{.matrix = matrix, .transpose = {}, .x = x});
    return matrix;
  }

  std::unique_ptr<Context> ctx = cpu_context(GetParam());
  Tensors memory;
};
INSTANTIATE_TEST_SUITE_P(Isas, Fp8OpsTest, testing::ValuesIn(isas()));

void expect_golden(const Fp8Matrix& matrix, const SafetensorsFile& golden,
                   const std::string& name) {
  const ConstTensor values = golden.tensor(name);
  ASSERT_EQ(values.bytes(), matrix.values.bytes()) << name;
  EXPECT_EQ(
      std::memcmp(values.data(), matrix.values.data(), static_cast<std::size_t>(values.bytes())), 0)
      << name;
  EXPECT_TRUE(same_bits(matrix.scales, golden.tensor(name + ".scales"))) << name;
}

TEST_P(Fp8OpsTest, QuantizesAsPyTorchDoes) {
  const SafetensorsFile golden(source_path("tests/golden/fp8.safetensors"));
  const ConstTensor x = golden.tensor("x");
  const std::int64_t rows = x.dim(0), columns = x.dim(1);
  for (const DType dtype : kTypes) {
    for (const auto& [blocks, name] : kBlocks) {
      const Fp8Quantize op{.matrix = room(dtype, blocks, rows, columns),
                           .transpose = room(dtype, blocks, columns, rows),
                           .x = x};
      run(*ctx, op);
      expect_golden(op.matrix, golden, fmt::format("x.{}.{}", name_of(dtype), name));
      expect_golden(op.transpose, golden, fmt::format("x_t.{}.{}", name_of(dtype), name));
    }
  }
}

TEST_P(Fp8OpsTest, EitherHalfAloneHasTheSameBits) {
  const Tensor x = memory.normal("x", {144, 272}, DType::bf16);
  for (const auto& [blocks, name] : kBlocks) {
    const Fp8Quantize both{.matrix = room(DType::e4m3, blocks, 144, 272),
                           .transpose = room(DType::e4m3, blocks, 272, 144),
                           .x = x};
    run(*ctx, both);
    const Fp8Matrix matrix = quantized(x, DType::e4m3, blocks);
    const Fp8Matrix transpose = room(DType::e4m3, blocks, 272, 144);
    run(*ctx, Fp8Quantize{.matrix = {}, .transpose = transpose, .x = x});
    EXPECT_TRUE(same_bits(matrix.values, both.matrix.values)) << name;
    EXPECT_TRUE(same_bits(matrix.scales, both.matrix.scales)) << name;
    EXPECT_TRUE(same_bits(transpose.values, both.transpose.values)) << name;
    EXPECT_TRUE(same_bits(transpose.scales, both.transpose.scales)) << name;
  }
}

TEST_P(Fp8OpsTest, ProductsAgreeWithDoublePrecision) {
  struct Case {
    std::int64_t m, n, k;
  };
  for (const auto& [m, n, k] : {Case{1, 16, 16}, {37, 144, 272}, {128, 128, 128}}) {
    const Tensor x = memory.normal("x", {m, k}), w = memory.normal("w", {n, k}, DType::bf16);
    for (const auto& [blocks, name] : kBlocks) {
      const Fp8Matrix b = quantized(w, DType::e4m3, blocks);
      const Fp8Blocks others = blocks == Fp8Blocks::whole ? blocks : Fp8Blocks::rows;
      Fp8Matrix a = room(DType::e5m2, others, m, k);  // m is no multiple of 16: as the CPU rounds
      for (std::int64_t i = 0; i < m * k; ++i) set(a.values, i, get(x, i));
      for (std::int64_t i = 0; i < a.scales.numel(); ++i)
        set(a.scales, i, 0.5F + 0.01F * static_cast<float>(i));
      const Tensor expected = fp8_product(memory, a, b);
      const Tensor f32 = memory.empty({m, n}), bf16 = memory.empty({m, n}, DType::bf16);
      run(*ctx, Fp8Product{.c = f32, .a = a, .b = b, .accumulate = false});
      run(*ctx, Fp8Product{.c = bf16, .a = a, .b = b, .accumulate = false});
      EXPECT_LT(relative_error(f32, expected), kReordered) << name;
      EXPECT_LT(relative_error(bf16, expected), rounding(DType::bf16)) << name;
      run(*ctx, Fp8Product{.c = f32, .a = a, .b = b, .accumulate = true});
      for (std::int64_t i = 0; i < m * n; ++i) set(expected, i, 2 * get(expected, i));
      EXPECT_LT(relative_error(f32, expected), kReordered) << name;
    }
  }
}

TEST_P(Fp8OpsTest, ProductsAgreeWithPyTorch) {
  const SafetensorsFile golden(source_path("tests/golden/fp8.safetensors"));
  for (const auto& [blocks, of_weight, name] :
       {std::tuple{Fp8Blocks::whole, Fp8Blocks::whole, "product.whole"},
        std::tuple{Fp8Blocks::rows, Fp8Blocks::squares, "product.rows"}}) {
    const ConstTensor expected = golden.tensor(name);
    const Tensor c = memory.empty(expected.shape());
    run(*ctx, Fp8Product{.c = c,
                         .a = quantized(golden.tensor("x"), DType::e4m3, blocks),
                         .b = quantized(golden.tensor("w"), DType::e4m3, of_weight),
                         .accumulate = false});
    EXPECT_LT(relative_error(c, expected), kReordered) << name;
  }
}

TEST_P(Fp8OpsTest, SameBitsForAnyThreadCount) {
  const Tensor x = memory.normal("x", {400, 272}, DType::bf16);
  const Tensor w = memory.normal("w", {160, 272}, DType::bf16);
  const int before = num_threads();
  for (const auto& [blocks, name] : kBlocks) {
    const Fp8Blocks others = blocks == Fp8Blocks::whole ? blocks : Fp8Blocks::rows;
    const auto product = [&](int threads) {
      set_num_threads(threads);
      const Tensor c = memory.empty({400, 160});
      run(*ctx, Fp8Product{.c = c,
                           .a = quantized(x, DType::e5m2, others),
                           .b = quantized(w, DType::e4m3, blocks),
                           .accumulate = false});
      return c;
    };
    const Tensor one = product(1);
    for (const int threads : {2, 3, 5}) EXPECT_TRUE(same_bits(product(threads), one)) << name;
  }
  set_num_threads(before);
}

TEST_P(Fp8OpsTest, ZerosStayZerosAndNaNReachesItsBlockAlone) {
  const Tensor x = memory.zeros({32, 272}, DType::bf16);
  for (const auto& [blocks, name] : kBlocks) {
    set(x, 5 * 272 + 130, 0);
    const Fp8Matrix zeros = quantized(x, DType::e4m3, blocks);
    for (std::int64_t i = 0; i < 272; ++i) EXPECT_EQ(fp8_value(zeros, 5, i), 0) << name;
    for (const float bad : {INFINITY, NAN}) {
      set(x, 5 * 272 + 130, bad);
      const Fp8Matrix matrix = quantized(x, DType::e4m3, blocks);
      for (const std::int64_t row : {4, 5}) {
        for (const std::int64_t column : {1, 127, 128, 130, 255, 256}) {
          const bool same_block = blocks == Fp8Blocks::whole ||
                                  (column / 128 == 1 && (blocks == Fp8Blocks::squares || row == 5));
          EXPECT_EQ(std::isnan(fp8_value(matrix, row, column)), same_block)
              << name << " " << row << " " << column;
        }
      }
    }
  }
}

TEST_P(Fp8OpsTest, MetaRunCountsTheScratchThatARunTakes) {
  const Tensor x = memory.normal("x", {160, 272}, DType::bf16);
  const Tensor c = memory.empty({160, 160}), rounded = memory.empty({160, 160}, DType::bf16);
  const auto measure = [&](Context& its) {
    const Fp8Matrix a = room(DType::e4m3, Fp8Blocks::whole, 160, 272);
    run(its, Fp8Quantize{.matrix = a, .transpose = {}, .x = x});
    for (const bool accumulate : {false, true})
      run(its, Fp8Product{.c = c, .a = a, .b = a, .accumulate = accumulate});
    run(its, Fp8Product{.c = rounded, .a = a, .b = a, .accumulate = false});
    return its.scratch.high_water();
  };
  Context meta;
  meta.device = Device::meta;
  meta.cpu = ctx->cpu;
  EXPECT_EQ(measure(meta), measure(*ctx));
  EXPECT_EQ(ctx->scratch.used(), 0U);
}

TEST_P(Fp8OpsTest, WhatCublasLtWouldNotTakeIsRefused) {
  const auto message = [&](const auto& op) {
    try {
      run(*ctx, op);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const Tensor odd = memory.normal("x", {16, 24}, DType::bf16);
  EXPECT_THAT(
      message(Fp8Quantize{
          .matrix = room(DType::e4m3, Fp8Blocks::whole, 16, 24), .transpose = {}, .x = odd}),
      testing::HasSubstr("the number of columns is 24, expected a multiple of 16"));
  const Tensor c = memory.empty({16, 16});
  const auto product = [&](DType a, Fp8Blocks of_a, DType b, Fp8Blocks of_b) {
    return message(Fp8Product{
        .c = c, .a = room(a, of_a, 16, 16), .b = room(b, of_b, 16, 16), .accumulate = false});
  };
  using enum Fp8Blocks;
  EXPECT_THAT(product(DType::e5m2, whole, DType::e5m2, whole),
              testing::HasSubstr("both operands are e5m2"));
  EXPECT_THAT(product(DType::e4m3, squares, DType::e4m3, squares),
              testing::HasSubstr("the blocks of the operands do not go together"));
  EXPECT_THAT(product(DType::e4m3, whole, DType::e4m3, rows),
              testing::HasSubstr("the blocks of the operands do not go together"));
}

}  // namespace
}  // namespace hg::test
