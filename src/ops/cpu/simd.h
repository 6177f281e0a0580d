// Vectors of f32 for kernels, on GCC's vector extension: 16 lanes with AVX-512, 8 with AVX2. bf16
// is widened at load and rounded at store. Only for files in ops/cpu/kernels.
#pragma once

#include <cstdint>
#include <cstring>

#include "ops/cpu/isa.h"

#define HG_INLINE inline __attribute__((always_inline))
// Another name per instruction set, so that the linker never takes one's function for the other's.
#define HG_CONCAT2(a, b) a##b
#define HG_CONCAT(a, b) HG_CONCAT2(a, b)
#define HG_SIMD HG_CONCAT(simd_, HEADGATE_ISA)

#include "ops/cpu/simd_x86.h"

namespace hg {
inline namespace HG_SIMD {

inline constexpr std::int64_t kLanes = kIsa == Isa::avx512 ? 16 : 8;
using F32 = float __attribute__((vector_size(kLanes * 4)));
using U32 = std::uint32_t __attribute__((vector_size(kLanes * 4)));
using I32 = std::int32_t __attribute__((vector_size(kLanes * 4)));
using U16 = std::uint16_t __attribute__((vector_size(kLanes * 2)));
using F64 = double __attribute__((vector_size(kLanes * 4)));  // half as many lanes

// Integer vectors as the functions of simd_x86.h take them.
using Bits32 = long long __attribute__((vector_size(kLanes * 4), may_alias));
using Bits16 = long long __attribute__((vector_size(kLanes * 2), may_alias));

/// A whole vector, or the `count` elements that are left at the end of a row.
struct Full {
  static constexpr std::int64_t count = kLanes;
};
struct Tail {
  std::int64_t count;
};

/// Calls fn(i, lanes) for i = 0, kLanes, 2 kLanes ... below n; lanes is Full, at the end Tail.
template <class Fn>
HG_INLINE void for_lanes(std::int64_t n, Fn&& fn) {
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) fn(i, Full{});
  if (i < n) fn(i, Tail{n - i});
}

/// 0, 1, 2 ...
HG_INLINE I32 lane_numbers() {
  I32 lane;
  for (std::int64_t i = 0; i < kLanes; ++i) lane[i] = static_cast<std::int32_t>(i);
  return lane;
}
/// All bits set in the lanes that hold an element.
HG_INLINE I32 live(Full) { return I32{} - 1; }
HG_INLINE I32 live(Tail lanes) { return lane_numbers() < static_cast<std::int32_t>(lanes.count); }

HG_INLINE F32 splat(float x) { return F32{} + x; }

HG_INLINE F32 widen(U16 x) {
  return reinterpret_cast<F32>(reinterpret_cast<U32>(widen_u16(reinterpret_cast<Bits16>(x))) << 16);
}
/// To nearest even; NaN stays NaN.
HG_INLINE U16 round_bf16(F32 x) {
  const U32 u = reinterpret_cast<U32>(x);
  const U32 rounded = x == x ? u + ((u >> 16 & 1U) + 0x7fffU) : u | 0x400000U;
  return reinterpret_cast<U16>(upper_u16(reinterpret_cast<Bits32>(rounded)));
}

HG_INLINE F32 load(const float* p, Full) {
  F32 x;
  std::memcpy(&x, p, sizeof(x));
  return x;
}
HG_INLINE F32 load(const bf16* p, Full) {
  U16 x;
  std::memcpy(&x, p, sizeof(x));
  return widen(x);
}
HG_INLINE void store(float* p, F32 x, Full) { std::memcpy(p, &x, sizeof(x)); }
HG_INLINE void store(bf16* p, F32 x, Full) {
  const U16 rounded = round_bf16(x);
  std::memcpy(p, &rounded, sizeof(rounded));
}
HG_INLINE F32 load(const float* p, Tail tail) { return load_first(p, tail.count); }
HG_INLINE F32 load(const bf16* p, Tail tail) {
  return widen(reinterpret_cast<U16>(load_first(&p->bits, tail.count)));
}
HG_INLINE void store(float* p, F32 x, Tail tail) { store_first(p, x, tail.count); }
HG_INLINE void store(bf16* p, F32 x, Tail tail) {
  store_first(&p->bits, reinterpret_cast<Bits16>(round_bf16(x)), tail.count);
}
template <class T>
HG_INLINE F32 load(const T* p) {
  return load(p, Full{});
}
template <class T>
HG_INLINE void store(T* p, F32 x) {
  store(p, x, Full{});
}

/// Sum and maximum over the lanes, pairwise: the order is the same everywhere.
HG_INLINE float reduce_add(F32 x) {
  return fold(x, [](auto a, auto b) { return a + b; });
}
HG_INLINE float reduce_max(F32 x) {
  return fold(x, [](auto a, auto b) { return max(a, b); });
}
HG_INLINE double reduce_add(F64 x) {
  double sum = 0;
  for (std::int64_t i = 0; i < kLanes / 2; ++i) sum += x[i];
  return sum;
}

/// e^x to 2 units in the last place; 0 below -87.3, the value at 88.3 above; NaN stays NaN.
HG_INLINE F32 exp(F32 x) {
  // x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 is taken off in two parts to keep r exact. The
  // polynomial is the minimax one of Cephes' expf. max and min return their second operand if one
  // is NaN, which thus goes through.
  const F32 clamped = min(splat(88.3F), max(splat(-87.3F), x));
  // Adding 1.5 * 2^23 + 127 leaves n, with the bias of an exponent, in the low bits.
  constexpr float kRound = 12582912.0F + 127.0F;
  const F32 shifted = clamped * 1.44269504088896341F + kRound;
  const F32 n = shifted - kRound;
  const F32 r = clamped - n * 0.693359375F - n * -2.12194440e-4F;
  F32 p = splat(1.9875691500e-4F);
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  const F32 power = reinterpret_cast<F32>(reinterpret_cast<I32>(shifted) << 23);  // 2^n
  return x < -87.3F ? splat(0.0F) : p * power;
}

HG_INLINE F32 sigmoid(F32 x) { return 1.0F / (1.0F + exp(-x)); }

}  // namespace HG_SIMD
}  // namespace hg
