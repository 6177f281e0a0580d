// The simulated cuBLASLt: products of integers are exact, and misuse is named.
#include <cublasLt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "cuda_sim/simulation.h"
#include "support/staged_comm.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

void expect_lt(cublasStatus_t status) {
  ASSERT_EQ(status, CUBLAS_STATUS_SUCCESS) << cublasLtGetStatusString(status);
}

/// C [m, n] = A [m, k] B [k, n] of f32, column by column. A test spoils it before `choose` or
/// `run`.
struct Product {
  static constexpr std::int64_t kM = 20, kN = 9, kK = 130;
  cublasLtHandle_t library = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtMatmulHeuristicResult_t best{};
  DeviceMemory a_data{kM * kK * 4 + 4}, b_data{kK * kN * 4}, c_data{kM * kN * 4},
      workspace{2 * kM * kN * 4};
  std::size_t workspace_bytes = 2 * kM * kN * 4;

  explicit Product(cudaDataType_t type = CUDA_R_32F, std::int64_t a_stride = kM) {
    expect_lt(cublasLtCreate(&library));
    expect_lt(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    expect_lt(cublasLtMatrixLayoutCreate(&a, type, kM, kK, a_stride));
    expect_lt(cublasLtMatrixLayoutCreate(&b, CUDA_R_32F, kK, kN, kK));
    expect_lt(cublasLtMatrixLayoutCreate(&c, CUDA_R_32F, kM, kN, kM));
    expect_lt(cublasLtMatmulPreferenceCreate(&preference));
    const std::uint64_t most = workspace_bytes;
    expect_lt(cublasLtMatmulPreferenceSetAttribute(
        preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most));
    fill(a_data, kM * kK, 7);
    fill(b_data, kK * kN, 5);
  }
  ~Product() {
    cublasLtMatmulPreferenceDestroy(preference);
    for (const auto layout : {a, b, c}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(operation);
    cublasLtDestroy(library);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  /// 0, 1, ... modulo a number.
  static void fill(const DeviceMemory& memory, std::int64_t count, int modulo) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(int(i) % modulo);
    expect_cuda(
        cudaMemcpy(memory.data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  }
  cublasStatus_t choose() {
    int found = 0;
    return cublasLtMatmulAlgoGetHeuristic(library, operation, a, b, c, c, preference, 1, &best,
                                          &found);
  }
  cublasStatus_t run(float alpha = 1, float beta = 0, std::int64_t shift = 0) const {
    return cublasLtMatmul(library, operation, &alpha, a_data.data() + shift, a, b_data.data(), b,
                          &beta, c_data.data(), c, c_data.data(), c, &best.algo, workspace.data(),
                          workspace_bytes, nullptr);
  }
  std::vector<float> result() const {
    std::vector<float> values(kM * kN);
    expect_cuda(
        cudaMemcpy(values.data(), c_data.data(), values.size() * 4, cudaMemcpyDeviceToHost));
    return values;
  }
};

std::vector<float> expected(float alpha) {
  std::vector<float> values(Product::kM * Product::kN);
  for (int i = 0; i < Product::kM; ++i)
    for (int j = 0; j < Product::kN; ++j)
      for (int k = 0; k < Product::kK; ++k)
        values[static_cast<std::size_t>(j * Product::kM + i)] +=
            alpha * static_cast<float>((k * Product::kM + i) % 7 * ((j * Product::kK + k) % 5));
  return values;
}

TEST(CublasLtSim, ProductsOfIntegersAreExactAndRunWhenTheStreamDoes) {
  const cuda_sim::Simulation simulation;
  Product product;
  expect_lt(product.choose());
  EXPECT_GT(product.best.workspaceSize, 0U);
  expect_lt(product.run());
  EXPECT_TRUE(std::isnan(*reinterpret_cast<const float*>(product.c_data.data())));
  EXPECT_EQ(product.result(), expected(1));
  expect_lt(product.run(2, 1));
  EXPECT_EQ(product.result(), expected(3));
}

TEST(CublasLtSim, WithoutAWorkspaceItDoesWithoutOne) {
  const cuda_sim::Simulation simulation;
  Product product;
  const std::uint64_t none = 0;
  expect_lt(cublasLtMatmulPreferenceSetAttribute(
      product.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &none, sizeof none));
  expect_lt(product.choose());
  EXPECT_EQ(product.best.workspaceSize, 0U);
  product.workspace_bytes = 0;
  expect_lt(product.run());
  EXPECT_EQ(product.result(), expected(1));
}

TEST(CublasLtSim, TooLittleWorkspaceIsRefused) {
  const cuda_sim::Simulation simulation;
  Product product;
  expect_lt(product.choose());
  product.workspace_bytes -= 4;
  EXPECT_EQ(product.run(), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE),
              HasSubstr("a workspace of 1436 bytes, where the algorithm takes 1440"));
}

TEST(CublasLtSim, TypesThatDoNotGoTogetherAreRefused) {
  const cuda_sim::Simulation simulation;
  Product product(CUDA_R_16BF);
  EXPECT_EQ(product.choose(), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_NOT_SUPPORTED),
              HasSubstr("no product of A 14, B 0, C 0, D 0"));
}

TEST(CublasLtSim, AStrideThatLeavesTheAllocationIsNamed) {
  const cuda_sim::Simulation simulation;
  Product wide(CUDA_R_32F, Product::kM + 1);
  expect_lt(wide.choose());
  EXPECT_EQ(wide.run(), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE),
              HasSubstr("A, 20 x 130 and 21 apart: 10916 bytes from byte 0 of an allocation go "
                        "beyond its end, which has 10404"));
  Product narrow(CUDA_R_32F, Product::kM - 1);
  EXPECT_EQ(narrow.choose(), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE),
              HasSubstr("A has columns of 20 elements, 19 apart"));
}

TEST(CublasLtSim, AnAlgorithmIsForOneProductAndItsAlignments) {
  const cuda_sim::Simulation simulation;
  Product product;
  expect_lt(product.choose());
  EXPECT_EQ(product.run(1, 0, 4), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE),
              HasSubstr("where the algorithm was chosen for addresses that 256 divides"));
  Product transposed;
  const cublasOperation_t flip = CUBLAS_OP_T;
  expect_lt(cublasLtMatmulDescSetAttribute(transposed.operation, CUBLASLT_MATMUL_DESC_TRANSB, &flip,
                                           sizeof flip));
  EXPECT_EQ(transposed.choose(), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE),
              HasSubstr("A 20 x 130 by B 130 x 9 transposed makes neither C 20 x 9 nor D 20 x 9"));
}

TEST(CublasLtSim, MemoryOfTheHostIsRefused) {
  const cuda_sim::Simulation simulation;
  Product product;
  expect_lt(product.choose());
  const float one = 1, zero = 0;
  std::vector<float> host(Product::kM * Product::kN);
  EXPECT_EQ(cublasLtMatmul(product.library, product.operation, &one, product.a_data.data(),
                           product.a, product.b_data.data(), product.b, &zero, host.data(),
                           product.c, host.data(), product.c, &product.best.algo,
                           product.workspace.data(), product.workspace_bytes, nullptr),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE),
              HasSubstr("C is not in memory of the device"));
}

}  // namespace
}  // namespace hg::test
