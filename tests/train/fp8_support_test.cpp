#include "train/fp8_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/check.h"
#include "train/config.h"
#include "train/predict/gpu_specs.h"
#include "train/predict/roofline.h"

namespace hg::test {
namespace {

using testing::HasSubstr;

std::string refusal(Fp8 fp8, int architecture, const std::string& gpu = "a GPU") {
  try {
    check_fp8(fp8, architecture, gpu);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Fp8Support, GpusBeforeSm89AreRefusedByName) {
  const std::string a100 = "NVIDIA A100-SXM4-80GB, sm_80, 108 multiprocessors, 79.3 GiB";
  EXPECT_EQ(refusal(Fp8::off, 80, a100), "");
  for (const Fp8 fp8 : {Fp8::tensor, Fp8::block}) {
    EXPECT_THAT(refusal(fp8, 80, a100),
                testing::AllOf(HasSubstr("from sm_89 on"), HasSubstr(a100)));
  }
}

TEST(Fp8Support, BlocksAreHoppers) {
  EXPECT_EQ(refusal(Fp8::block, 90), "");
  for (const int architecture : {89, 100}) {
    EXPECT_EQ(refusal(Fp8::tensor, architecture), "");
    EXPECT_THAT(refusal(Fp8::block, architecture, "NVIDIA B200"),
                testing::AllOf(HasSubstr("sm_90 alone"), HasSubstr("NVIDIA B200")));
  }
}

TEST(Fp8Support, DataSheetsHaveASpeedWhereTheGpuHasFp8) {
  for (const GpuSpecs& gpu : gpu_specs())
    EXPECT_EQ(gpu.fp8_flops > 0, gpu.architecture >= 89) << gpu.name;
}

TEST(Fp8Support, PredictionsTakeTheSpeedOfFp8) {
  const GpuSpecs& h100 = gpu_specs("h100");
  const Cost cost{.flops = 1e15};
  EXPECT_DOUBLE_EQ(light_seconds("fp8_product", cost, h100, DType::bf16), 1e15 / h100.fp8_flops);
  EXPECT_DOUBLE_EQ(light_seconds("linear_forward", cost, h100, DType::bf16),
                   1e15 / h100.bf16_flops);
}

TEST(Fp8Support, AConfigInF32IsRefused) {
  const auto problem = [](const char* precision) -> std::string {
    const std::string text =
        fmt::format("training: {{fp8: tensor, precision: {}}}\ndata: {{train: x}}\n", precision);
    try {
      parse_config<RunConfig>(text, "config");
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(problem("f32"),
              HasSubstr("training.fp8: is tensor, which needs precision: bf16, not f32"));
  EXPECT_THAT(problem("auto"), HasSubstr("which needs precision: bf16, not auto"));
  EXPECT_EQ(problem("bf16").find("training.fp8"), std::string::npos) << problem("bf16");
}

}  // namespace
}  // namespace hg::test
