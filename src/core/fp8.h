// FP8: e4m3 for values, e5m2 for gradients (Micikevicius et al., arXiv 2209.05433). e4m3 has no
// infinity and one NaN of each sign. Conversions from f32 round to nearest even and saturate.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "core/dtype.h"

namespace hg {
namespace detail {

constexpr float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

/// An FP8 format of which the sign takes one bit, the fraction some and the exponent the rest.
/// Magnitudes are the lower seven bits; of the finite ones, `largest` is the last.
template <int fraction, int bias, std::uint32_t largest>
struct Fp8Format {
  /// The magnitude of a value, which is given without its sign. No branch, so that loops become
  /// vectors.
  static constexpr std::uint32_t round(float value) {
    constexpr float kLargest = widen(largest);
    const float x = value > kLargest ? kLargest : value;  // NaN is not larger
    const auto bits = std::bit_cast<std::uint32_t>(x);
    constexpr int kShift = 23 - fraction;
    const std::uint32_t half = (1U << (kShift - 1)) - 1 + ((bits >> kShift) & 1U);
    const std::uint32_t normal =
        ((bits + half) >> kShift) - (static_cast<std::uint32_t>(127 - bias) << fraction);
    // Adding a power of two whose last place is the smallest value leaves how often that fits.
    constexpr float kMagic = power_of_two(23 + 1 - bias - fraction);
    const std::uint32_t small =
        std::bit_cast<std::uint32_t>(x + kMagic) - std::bit_cast<std::uint32_t>(kMagic);
    const std::uint32_t rounded = x < power_of_two(1 - bias) ? small : normal;
    return value == value ? rounded : 0x7fU;
  }
  static constexpr float widen(std::uint32_t magnitude) {
    const float x = std::bit_cast<float>(magnitude << (23 - fraction)) * power_of_two(127 - bias);
    if (magnitude <= largest) return x;
    const bool infinite = fraction == 2 && magnitude == largest + 1;
    return infinite ? std::numeric_limits<float>::infinity()
                    : std::numeric_limits<float>::quiet_NaN();
  }
};
using E4m3Format = Fp8Format<3, 7, 0x7e>;
using E5m2Format = Fp8Format<2, 15, 0x7b>;

template <class Format>
constexpr std::uint8_t to_fp8(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = bits >> 24 & 0x80U;
  return static_cast<std::uint8_t>(Format::round(std::bit_cast<float>(bits & 0x7fffffffU)) | sign);
}
template <class Format>
constexpr float from_fp8(std::uint8_t bits) {
  const float magnitude = Format::widen(bits & 0x7fU);
  return bits >> 7 != 0 ? -magnitude : magnitude;
}

}  // namespace detail

/// 4 exponent and 3 fraction bits: up to 448.
struct e4m3 {
  static constexpr float kLargest = 448;
  std::uint8_t bits;

  e4m3() = default;
  explicit constexpr e4m3(float value) : bits(detail::to_fp8<detail::E4m3Format>(value)) {}
  explicit constexpr operator float() const { return detail::from_fp8<detail::E4m3Format>(bits); }
};

/// 5 exponent and 2 fraction bits: up to 57344.
struct e5m2 {
  static constexpr float kLargest = 57344;
  std::uint8_t bits;

  e5m2() = default;
  explicit constexpr e5m2(float value) : bits(detail::to_fp8<detail::E5m2Format>(value)) {}
  explicit constexpr operator float() const { return detail::from_fp8<detail::E5m2Format>(bits); }
};
static_assert(sizeof(e4m3) == 1 && sizeof(e5m2) == 1);

}  // namespace hg
