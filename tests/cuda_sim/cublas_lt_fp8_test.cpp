// The simulated cuBLASLt and FP8: what the documentation does not allow is refused by name.
#include <cublasLt.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda_sim/simulation.h"
#include "support/staged_comm.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

/// D [m, n] = A^T B of matrices [k, m] and [k, n], column by column.
struct Fp8Problem {
  cudaDataType_t a = CUDA_R_8F_E4M3, b = CUDA_R_8F_E4M3, d = CUDA_R_16BF;
  std::uint64_t m = 32, n = 5, k = 48;
  std::int64_t apart = 48;  // columns of A
  cublasOperation_t transpose_a = CUBLAS_OP_T, transpose_b = CUBLAS_OP_N;
  std::int32_t mode_a = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F, mode_b = mode_a;
  int architecture = 90;
  bool scales = true;  // are pointed to
};

/// What is wrong with a problem; nothing if an algorithm is found.
std::string refusal(const Fp8Problem& p) {
  const cuda_sim::Simulation simulation({.devices = 1, .architecture = p.architecture});
  cublasLtHandle_t library = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  cublasLtCreate(&library);
  cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    EXPECT_EQ(cublasLtMatmulDescSetAttribute(operation, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  };
  set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_a);
  set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_b);
  set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, p.mode_a);
  set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, p.mode_b);
  const float one = 1;
  const float* const scales = p.scales ? &one : nullptr;
  set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, scales);
  set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, scales);
  const bool flip_a = p.transpose_a == CUBLAS_OP_T, flip_b = p.transpose_b == CUBLAS_OP_T;
  cublasLtMatrixLayoutCreate(&a, p.a, flip_a ? p.k : p.m, flip_a ? p.m : p.k, p.apart);
  cublasLtMatrixLayoutCreate(&b, p.b, flip_b ? p.n : p.k, flip_b ? p.k : p.n,
                             static_cast<std::int64_t>(flip_b ? p.n : p.k));
  cublasLtMatrixLayoutCreate(&d, p.d, p.m, p.n, static_cast<std::int64_t>(p.m));
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulHeuristicResult_t best{};
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(library, operation, a, b, d, d, preference, 1, &best, &found);
  cublasLtMatmulPreferenceDestroy(preference);
  for (const auto layout : {a, b, d}) cublasLtMatrixLayoutDestroy(layout);
  cublasLtMatmulDescDestroy(operation);
  cublasLtDestroy(library);
  return status == CUBLAS_STATUS_SUCCESS ? "" : cublasLtGetStatusString(status);
}

TEST(CublasLtFp8Sim, TheTypesOfTheTableAreTakenAndNoOthers) {
  const cudaDataType_t fp8[] = {CUDA_R_8F_E4M3, CUDA_R_8F_E5M2};
  for (const cudaDataType_t a : fp8) {
    for (const cudaDataType_t b : fp8) {
      for (const cudaDataType_t d : {CUDA_R_16BF, CUDA_R_32F}) {
        const bool both_e5m2 = a == CUDA_R_8F_E5M2 && b == CUDA_R_8F_E5M2;
        EXPECT_EQ(refusal({.a = a, .b = b, .d = d}).empty(), !both_e5m2);
      }
    }
  }
  EXPECT_THAT(refusal({.b = CUDA_R_16BF}), HasSubstr("no product of A 28, B 14"));
}

TEST(CublasLtFp8Sim, TheFirstOperandAloneIsTransposed) {
  for (const auto& [a, b, apart] : {std::tuple{CUBLAS_OP_N, CUBLAS_OP_N, 32},
                                    {CUBLAS_OP_N, CUBLAS_OP_T, 32},
                                    {CUBLAS_OP_T, CUBLAS_OP_T, 48}}) {
    EXPECT_THAT(refusal({.n = 16, .apart = apart, .transpose_a = a, .transpose_b = b}),
                HasSubstr("FP8 takes A transposed and B as it lies"));
  }
}

TEST(CublasLtFp8Sim, ColumnsAreOfSixteenBytes) {
  EXPECT_THAT(refusal({.k = 40, .apart = 48}), HasSubstr("columns of A have 40 bytes"));
  EXPECT_THAT(refusal({.apart = 56}), HasSubstr("columns of A have 48 bytes and lie 56 apart"));
  EXPECT_THAT(refusal({.m = 36}), HasSubstr("columns of C have 72 bytes"));
  EXPECT_EQ(refusal({.d = CUDA_R_32F, .m = 36}), "");
}

TEST(CublasLtFp8Sim, ArchitecturesHaveWhatTheyHave) {
  EXPECT_THAT(refusal({.architecture = 80}), HasSubstr("no FP8 on sm_80"));
  for (const int architecture : {89, 90, 100}) {
    EXPECT_EQ(refusal({.architecture = architecture}), "");
    EXPECT_EQ(refusal({.mode_a = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F,
                       .mode_b = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F,
                       .architecture = architecture})
                  .empty(),
              architecture == 90);
  }
}

TEST(CublasLtFp8Sim, ScaleModesGoTogetherOrNot) {
  constexpr std::int32_t kScalar = CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F,
                         kVectors = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F,
                         kSquares = CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F,
                         kMx = CUBLASLT_MATMUL_MATRIX_SCALE_VEC32_UE8M0;
  for (const auto& [a, b] :
       {std::pair{kVectors, kVectors}, {kVectors, kSquares}, {kSquares, kVectors}})
    EXPECT_EQ(refusal({.mode_a = a, .mode_b = b}), "");
  for (const auto& [a, b] :
       {std::pair{kSquares, kSquares}, {kScalar, kVectors}, {kSquares, kScalar}, {kMx, kMx}})
    EXPECT_THAT(refusal({.mode_a = a, .mode_b = b}), HasSubstr("do not go together"));
}

TEST(CublasLtFp8Sim, ScalesAreForFp8) {
  EXPECT_THAT(refusal({.a = CUDA_R_16BF, .b = CUDA_R_16BF}),
              HasSubstr("scales are given to what is not FP8"));
  EXPECT_THAT(refusal({.scales = false}), HasSubstr("before the scales are pointed to"));
}

}  // namespace
}  // namespace hg::test
