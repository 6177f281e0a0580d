// Element types. bf16 and FP8 are stored, never computed with: kernels convert to f32 at load and
// store.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hg {

enum class DType : std::uint8_t { f32, bf16, i32, e4m3, e5m2 };

constexpr bool is_fp8(DType dtype) { return dtype == DType::e4m3 || dtype == DType::e5m2; }

/// Of an element, in bytes.
constexpr std::int64_t size_of(DType dtype) {
  return is_fp8(dtype) ? 1 : dtype == DType::bf16 ? 2 : 4;
}

constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "bf16", "i32", "e4m3", "e5m2"};
  return kNames[static_cast<std::size_t>(dtype)];
}

/// The upper half of an f32: 8 exponent and 7 fraction bits. Rounds to nearest even; NaN stays NaN.
struct bf16 {
  std::uint16_t bits;

  bf16() = default;
  explicit constexpr bf16(float value) : bits(round(value)) {}
  explicit constexpr operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }

 private:
  static constexpr std::uint16_t round(float value) {
    const auto u = std::bit_cast<std::uint32_t>(value);
    if ((u & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>((u >> 16) | 0x40U);
    return static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
  }
};
static_assert(sizeof(bf16) == 2);

struct e4m3;  // core/fp8.h
struct e5m2;

/// How a model multiplies in FP8, if at all: by what shares a scale. tensor: all of an operand;
/// block: runs of 128 elements of a sum, and 128 x 128 elements of a weight.
enum class Fp8 : std::uint8_t { off, tensor, block };

/// The DType of a C++ element type.
template <class T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<e4m3> = DType::e4m3;
template <>
inline constexpr DType dtype_of<e5m2> = DType::e5m2;

}  // namespace hg
