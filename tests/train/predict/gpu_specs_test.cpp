#include "train/predict/gpu_specs.h"

#include <gtest/gtest.h>

namespace hg::test {
namespace {

TEST(GpuSpecs, AreThoseOfTheGpusThatTheDataSheetsAreOf) {
  const auto name_of = [](std::string_view description) {
    const GpuSpecs* const specs = specs_of(description);
    return specs == nullptr ? "" : std::string(specs->name);
  };
  EXPECT_EQ(name_of("NVIDIA A100-SXM4-80GB, sm_80, 108 multiprocessors, 79.3 GiB"), "a100");
  EXPECT_EQ(name_of("NVIDIA H100 80GB HBM3"), "h100");
  EXPECT_EQ(name_of("NVIDIA B200"), "b200");
  for (const char* other : {"NVIDIA H100 PCIe", "NVIDIA H100 NVL", "NVIDIA GB200", "NVIDIA L40S"})
    EXPECT_EQ(name_of(other), "");
  EXPECT_EQ(&gpu_specs("H100"), &gpu_specs("h100"));
}

}  // namespace
}  // namespace hg::test
