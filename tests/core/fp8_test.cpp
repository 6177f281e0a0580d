#include "core/fp8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "support/paths.h"
#include "train/safetensors.h"

namespace hg::test {
namespace {

template <class T>
class Fp8Test : public testing::Test {};
using Types = testing::Types<e4m3, e5m2>;
TYPED_TEST_SUITE(Fp8Test, Types);

template <class T>
T of_bits(int bits) {
  T value{};
  value.bits = static_cast<std::uint8_t>(bits);
  return value;
}

TYPED_TEST(Fp8Test, RoundsAsPyTorchDoes) {
  const SafetensorsFile golden(source_path("tests/golden/fp8.safetensors"));
  const ConstTensor values = golden.tensor("f32");
  const auto* expected = static_cast<const std::uint8_t*>(
      golden.tensor(fmt::format("f32.{}", name_of(dtype_of<TypeParam>))).data());
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const float value = values.as<float>()[i];
    EXPECT_EQ(TypeParam(value).bits, expected[i]) << value;
  }
}

TYPED_TEST(Fp8Test, EveryValueSurvivesF32) {
  int finite = 0;
  for (int bits = 0; bits < 256; ++bits) {
    const auto value = static_cast<float>(of_bits<TypeParam>(bits));
    if (!std::isfinite(value)) continue;
    EXPECT_EQ(TypeParam(value).bits, bits) << value;
    ++finite;
  }
  EXPECT_EQ(finite, dtype_of<TypeParam> == DType::e4m3 ? 254 : 248);
}

TYPED_TEST(Fp8Test, SaturatesAndKeepsNaN) {
  constexpr float kLargest = TypeParam::kLargest;
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float large : {kLargest, 1.5F * kLargest, infinity}) {
    EXPECT_EQ(static_cast<float>(TypeParam(large)), kLargest);
    EXPECT_EQ(static_cast<float>(TypeParam(-large)), -kLargest);
  }
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(std::nanf("")))));
  EXPECT_TRUE(std::isnan(static_cast<float>(TypeParam(-std::nanf("")))));
}

TEST(Fp8, KnownValues) {
  EXPECT_EQ(static_cast<float>(of_bits<e4m3>(0x38)), 1);
  EXPECT_EQ(static_cast<float>(of_bits<e4m3>(0x01)), 0x1p-9F);
  EXPECT_EQ(static_cast<float>(of_bits<e5m2>(0x3c)), 1);
  EXPECT_EQ(static_cast<float>(of_bits<e5m2>(0x81)), -0x1p-16F);
  EXPECT_EQ(static_cast<float>(of_bits<e5m2>(0x7c)), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(static_cast<float>(of_bits<e4m3>(0x7f))));
}

}  // namespace
}  // namespace hg::test
