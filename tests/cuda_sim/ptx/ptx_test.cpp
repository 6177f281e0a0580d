// Runs the tests of kernels on nvcc's PTX.
#include <gtest/gtest.h>

#include "cuda_sim/ptx/translate.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  cuda_sim::translate() = cuda_sim::ptx::interpret;
  return RUN_ALL_TESTS();
}
