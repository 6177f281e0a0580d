#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace hg {
namespace {

float from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

/// The nearest bf16 to a finite f32, ties to even, found by comparing the two neighbours in f64.
std::uint16_t nearest(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  const auto lower = static_cast<std::uint16_t>(u >> 16),
             upper = static_cast<std::uint16_t>(lower + 1);
  const auto value = [](std::uint16_t bits) -> double {
    // Where the next value would be infinite, rounding goes by the value that 2^128 would have.
    if ((bits & 0x7fffU) == 0x7f80U)
      return std::copysign(0x1p128, (bits & 0x8000U) != 0 ? -1.0 : 1.0);
    return double{from_bits(std::uint32_t{bits} << 16)};
  };
  const double below = std::abs(double{x} - value(lower)),
               above = std::abs(value(upper) - double{x});
  if (below != above) return below < above ? lower : upper;
  return lower % 2 == 0 ? lower : upper;
}

TEST(Bf16, RoundsToNearestEven) {
  // Every upper half, with the lower halves around which rounding turns.
  for (std::uint32_t high = 0; high < 0x10000U; ++high) {
    for (const std::uint32_t low : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      const float x = from_bits(high << 16 | low);
      if (!std::isfinite(x)) continue;
      ASSERT_EQ(bf16(x).bits, nearest(x)) << std::hexfloat << x;
    }
  }
}

TEST(Bf16, KeepsInfinityAndNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(bf16(infinity).bits, 0x7f80);
  EXPECT_EQ(bf16(-infinity).bits, 0xff80);
  for (const std::uint32_t bits :
       {0x7f800001U, 0x7fffffffU, 0xff800001U, 0xffffffffU, 0x7fc00000U}) {
    const bf16 rounded(from_bits(bits));
    EXPECT_TRUE(std::isnan(static_cast<float>(rounded))) << bits;
    EXPECT_EQ(rounded.bits >> 15, bits >> 31) << "sign of " << bits;
  }
}

TEST(Bf16, WideningIsExact) {
  for (std::uint32_t bits = 0; bits < 0x10000U; ++bits) {
    bf16 x(0.0F);
    x.bits = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(std::bit_cast<std::uint32_t>(static_cast<float>(x)), bits << 16);
  }
}

TEST(DType, SizesAndNames) {
  EXPECT_EQ(size_of(DType::f32), 4);
  EXPECT_EQ(size_of(DType::bf16), 2);
  EXPECT_EQ(size_of(DType::i32), 4);
  EXPECT_EQ(name_of(dtype_of<float>), "f32");
  EXPECT_EQ(name_of(dtype_of<bf16>), "bf16");
  EXPECT_EQ(name_of(dtype_of<std::int32_t>), "i32");
}

}  // namespace
}  // namespace hg
