// The simulated device: what kernels compute on it, and what it says about bugs that are planted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include "cuda_sim/kernel.h"
#include "cuda_sim/kernels/planted.h"
#include "support/compare.h"
#include "support/device_tensors.h"

namespace hg::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// What the device says when it has run what was launched: nothing if all is well.
std::string outcome() {
  const cudaError_t code = cudaDeviceSynchronize();
  return code == cudaSuccess ? "" : cudaGetErrorString(code);
}

std::vector<float> values_of(const ConstTensor& device) {
  Tensors host;
  const Tensor values = to_host(device, host);
  return {values.as<float>(), values.as<float>() + values.numel()};
}

/// 0, 1, 2, ... on the device.
Tensor counting(DeviceTensors& device, std::int64_t n) {
  Tensors host;
  const Tensor values = host.empty({n});
  std::iota(values.as<float>(), values.as<float>() + n, 0.0F);
  return device.copy(values);
}

TEST(CudaKernels, SumsOfABlockInEverySchedule) {
  for (const cuda_sim::Options& options : schedules()) {
    const cuda_sim::Simulation simulation(options);
    DeviceTensors device;
    const Tensor out = device.empty({128});
    block_sums(out.as<float>(), counting(device, 64).as<float>(), true);
    const std::vector<float> sums = values_of(out);
    EXPECT_EQ(std::count(sums.begin(), sums.begin() + 64, 2016.0F), 64);
    EXPECT_EQ(std::count(sums.begin() + 64, sums.end(), 85344.0F), 64);
  }
}

TEST(CudaKernels, WarpOperations) {
  const cuda_sim::Simulation simulation;
  DeviceTensors device;
  Tensors host;
  const Tensor out = device.copy(host.integers(std::vector<std::int32_t>(32 * 8)));
  warp_operations(out.as<std::int32_t>());
  const std::vector<std::int32_t> all = integers_of(to_host(out, host));
  const auto lane = [&](int i) {
    return std::vector<std::int32_t>(all.begin() + i * 8, all.begin() + i * 8 + 8);
  };
  const int thirds = 0x49249249;  // bits 0, 3, 6, ...
  EXPECT_THAT(lane(0), ElementsAre(5, 0, 3, 1, thirds, 1, 496, 8 + 4));
  EXPECT_THAT(lane(13), ElementsAre(5, 10, 13, 12, thirds, 1, 496, 5 + 4));
  EXPECT_THAT(lane(20), ElementsAre(5, 17, 23, 21, thirds, 1, 496, 0));
}

/// The error of one of the planted products of bf16, against the definition.
double error_of_product(decltype(multiply)& product, bool swap) {
  const cuda_sim::Simulation simulation;
  DeviceTensors device;
  Tensors host;
  const Tensor a = host.normal("a", {16, 16}, DType::bf16),
               b = host.normal("b", {16, 8}, DType::bf16);
  const Tensor expected = host.zeros({16, 8});
  for (std::int64_t i = 0; i < 16 * 8; ++i)
    for (std::int64_t k = 0; k < 16; ++k)
      set(expected, i, get(expected, i) + get(a, i / 8 * 16 + k) * get(b, k * 8 + i % 8));
  const auto words = [&](const Tensor& tensor) {
    return static_cast<const std::uint16_t*>(device.copy(tensor).data());
  };
  const Tensor c = device.empty({16, 8});
  product(c.as<float>(), words(a), words(b), swap);
  return relative_error(to_host(c, host), expected);
}

TEST(CudaKernels, AMatrixProductAgreesWithItsDefinitionUnlessOperandsAreSwapped) {
  EXPECT_LT(error_of_product(multiply, false), 1e-6);
  EXPECT_GT(error_of_product(multiply, true), 0.5);
}

TEST(CudaKernels, OperandsSwappedInTheTextOfAsmAreFoundByThePtxFormAlone) {
  const bool runs_asm = cuda_sim::translate() != nullptr;
  EXPECT_LT(error_of_product(multiply_by_asm, false), 1e-6);
  const double swapped = error_of_product(multiply_by_asm, true);
  EXPECT_TRUE(runs_asm ? swapped > 0.5 : swapped < 1e-6) << swapped;
}

TEST(CudaKernels, CopiesThatNobodyWaitsForArriveTooLate) {
  for (const bool enough : {true, false}) {
    const cuda_sim::Simulation simulation;
    DeviceTensors device;
    const Tensor out = device.empty({128});
    sum_tiles(out.as<float>(), counting(device, 5 * 128).as<float>(), 5, enough);
    const std::vector<float> sums = values_of(out);
    if (enough) {
      EXPECT_EQ(sums[3], 5 * 3 + 128 * 10);
    } else {
      EXPECT_TRUE(std::isnan(sums[3]));
    }
  }
}

TEST(CudaKernels, BlocksAddAtomically) {
  const cuda_sim::Simulation simulation;
  DeviceTensors device;
  const Tensor out = device.empty({1});
  expect_cuda(cudaMemset(out.data(), 0, 4));
  count_blocks(out.as<float>(), true);
  EXPECT_THAT(values_of(out), ElementsAre(4.0F));
}

TEST(CudaKernels, SharedMemoryIsNanUntilItIsWritten) {
  const cuda_sim::Simulation simulation;
  DeviceTensors device;
  const Tensor out = device.empty({32});
  expect_cuda(cudaMemset(out.data(), 0, 128));
  uninitialised(out.as<float>());
  for (const float value : values_of(out)) EXPECT_TRUE(std::isnan(value));
}

TEST(CudaKernels, AnOverrunOfSharedMemoryIsFound) {
  for (const bool dynamic : {false, true}) {
    const auto run = [&](int beyond) {
      const cuda_sim::Simulation simulation;
      DeviceTensors device;
      const Tensor out = device.empty({32});
      through_shared(out.as<float>(), beyond, dynamic);
      return outcome();
    };
    EXPECT_EQ(run(0), "");
    if (cuda_sim::Simulation::sanitized()) {
      EXPECT_DEATH(run(1), "use-after-poison.*(\n.*)*through_shared_kernel");
      continue;
    }
    EXPECT_THAT(run(1), HasSubstr("written past the end of this array of 128 bytes"));
    EXPECT_THAT(run(-32), HasSubstr("written before this array of 128 bytes"));
  }
}

TEST(CudaKernels, BarriersAndWarpOperationsAreDiagnosed) {
  const auto run = [](void (*kernel)()) {
    const cuda_sim::Simulation simulation;
    kernel();
    return outcome();
  };
  EXPECT_THAT(
      run(divergent_barrier),
      AllOf(HasSubstr("planted.cu:"), HasSubstr("thread (16, 0, 0) of block (0, 0, 0)"),
            HasSubstr("__syncthreads in divergent code: other threads of the block wait at")));
  EXPECT_THAT(run(barrier_against_shuffle),
              AllOf(HasSubstr("wait for each other for ever: from thread 0 on in __syncthreads at"),
                    HasSubstr("from thread 16 on in an operation of their warp at planted.cu:")));
  EXPECT_THAT(run(lane_outside_of_its_mask),
              HasSubstr("lane 16 calls __shfl_xor_sync, but is not in its mask 0x0000ffff"));
  EXPECT_THAT(run(shuffle_against_vote),
              HasSubstr("different operations: __ballot_sync here, __shfl_xor_sync at line"));
}

TEST(CudaKernels, AMatrixProductNeedsTheWholeWarp) {
  const cuda_sim::Simulation simulation;
  DeviceTensors device;
  multiply_by_half_a_warp(device.empty({32}).as<float>());
  EXPECT_THAT(outcome(), HasSubstr("mma by lanes 0x0000ffff alone"));
}

TEST(CudaKernels, ALaunchBeyondTheDevicesLimitsIsAnErrorThatNamesThePlace) {
  const cuda_sim::Simulation simulation;
  const auto error_of = [](unsigned blocks, unsigned threads, std::size_t shared_bytes) {
    try {
      idle(blocks, threads, shared_bytes);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(error_of(1, 1024, 232448), "");
  EXPECT_THAT(error_of(1, 1025, 0),
              AllOf(HasSubstr("planted.cu:"), HasSubstr("expected 1 to 1024")));
  EXPECT_THAT(error_of(0, 32, 0), HasSubstr("a grid of (0, 1, 1) blocks"));
  EXPECT_THAT(error_of(1, 32, 232449), HasSubstr("more than the device's 232448"));
}

TEST(CudaKernels, AKernelsErrorShowsWhereTheDeviceIsWaitedForAndStays) {
  const cuda_sim::Simulation simulation;
  divergent_barrier();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
  EXPECT_EQ(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
}

}  // namespace
}  // namespace hg::test
