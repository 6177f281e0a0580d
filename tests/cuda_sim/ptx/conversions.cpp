// cvt, and the conversions of addresses that change nothing.
#include <cmath>
#include <limits>

#include "core/fp8.h"
#include "cuda_sim/ptx/forms.h"

namespace cuda_sim::ptx {
namespace {

/// Towards zero; what is beyond the range becomes its end. NaN: see the PTX manual, "cvt".
template <class Int, class Float>
Int to_integer(Float x) {
  using Limits = std::numeric_limits<Int>;
  if (std::isnan(x)) {
    const bool narrow = sizeof(Int) < 8 && sizeof(Float) < 8;
    return narrow ? Int{} : static_cast<Int>(std::uint64_t{1} << (8 * sizeof(Int) - 1));
  }
  const Float above = std::ldexp(Float{1}, Limits::digits);
  if (x >= above) return Limits::max();
  if (x <= (std::is_signed_v<Int> ? -above : Float{})) return Limits::min();
  return static_cast<Int>(x);
}

std::uint16_t to_bf16(float x) {
  if (std::isnan(x)) return 0x7fff;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // ties to even
}

template <class Fp8>
std::uint16_t fp8_pair(float high, float low) {
  const auto bits = [](float x) {
    return static_cast<std::uint16_t>(std::isnan(x) ? 0x7f : Fp8(x).bits);
  };
  return static_cast<std::uint16_t>(bits(high) << 8 | bits(low));
}

template <class To, class From>
void add_integer_to_integer(Forms& forms) {
  forms.add("cvt." + type_name<To>() + "." + type_name<From>(),
            pure([](From x) { return static_cast<To>(x); }));
}
template <class To>
void add_to_integer(Forms& forms) {
  add_integer_to_integer<To, std::int8_t>(forms);
  add_integer_to_integer<To, std::uint8_t>(forms);
  add_integer_to_integer<To, std::int16_t>(forms);
  add_integer_to_integer<To, std::uint16_t>(forms);
  add_integer_to_integer<To, std::int32_t>(forms);
  add_integer_to_integer<To, std::uint32_t>(forms);
  add_integer_to_integer<To, std::int64_t>(forms);
  add_integer_to_integer<To, std::uint64_t>(forms);
}

template <class Float, class Int>
void add_between(Forms& forms) {
  const std::string real = "." + type_name<Float>(), integer = "." + type_name<Int>();
  forms.add("cvt.rn" + real + integer, pure([](Int x) { return static_cast<Float>(x); }));
  forms.add("cvt.rzi" + integer + real, pure([](Float x) { return to_integer<Int>(x); }));
}

template <class Float>
void add_of_float(Forms& forms) {
  add_between<Float, std::int32_t>(forms);
  add_between<Float, std::uint32_t>(forms);
  add_between<Float, std::int64_t>(forms);
  add_between<Float, std::uint64_t>(forms);
  const std::string types = "." + type_name<Float>() + "." + type_name<Float>();
  forms.add("cvt.rmi" + types, pure([](Float x) { return std::floor(x); }));
  forms.add("cvt.rpi" + types, pure([](Float x) { return std::ceil(x); }));
  forms.add("cvt.rzi" + types, pure([](Float x) { return std::trunc(x); }));
  forms.add("cvt.rni" + types, pure([](Float x) { return std::nearbyint(x); }));
}

}  // namespace

void add_conversions(Forms& forms) {
  add_to_integer<std::int8_t>(forms);
  add_to_integer<std::uint8_t>(forms);
  add_to_integer<std::int16_t>(forms);
  add_to_integer<std::uint16_t>(forms);
  add_to_integer<std::int32_t>(forms);
  add_to_integer<std::uint32_t>(forms);
  add_to_integer<std::int64_t>(forms);
  add_to_integer<std::uint64_t>(forms);
  add_of_float<float>(forms);
  add_of_float<double>(forms);
  forms.add("cvt.f64.f32", pure([](float x) { return static_cast<double>(x); }));
  forms.add("cvt.rn.f32.f64", pure([](double x) { return static_cast<float>(x); }));
  forms.add("cvt.sat.f32.f32", pure([](float x) { return std::fmin(std::fmax(x, 0.0F), 1.0F); }));
  forms.add("cvt.rn.bf16.f32", pure([](float x) { return to_bf16(x); }));
  forms.add("cvt.f32.bf16",
            pure([](std::uint16_t x) { return std::bit_cast<float>(std::uint32_t{x} << 16); }));
  forms.add("cvt.rn.bf16x2.f32", pure([](float high, float low) {
              return std::uint32_t{to_bf16(high)} << 16 | to_bf16(low);
            }));
  // The first operand becomes the upper byte; NaN loses its sign.
  forms.add("cvt.rn.satfinite.e4m3x2.f32",
            pure([](float high, float low) { return fp8_pair<hg::e4m3>(high, low); }));
  forms.add("cvt.rn.satfinite.e5m2x2.f32",
            pure([](float high, float low) { return fp8_pair<hg::e5m2>(high, low); }));
  for (const char* direction : {"cvta.to.global.u64", "cvta.global.u64"})
    forms.add(direction, pure([](std::uint64_t address) { return address; }));
}

}  // namespace cuda_sim::ptx
