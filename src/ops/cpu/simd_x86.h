// The few operations that GCC 12's vector extension lacks, or compiles to several times the
// instructions: square root, extrema, halves of vectors, conversions, parts of vectors in memory.
// Included by ops/cpu/simd.h alone.
#pragma once

#include <immintrin.h>

namespace hg {
inline namespace HG_SIMD {

HG_INLINE __m128 max(__m128 a, __m128 b) { return _mm_max_ps(a, b); }
HG_INLINE __m256 max(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
HG_INLINE __m128 low(__m256 x) { return _mm256_castps256_ps128(x); }
HG_INLINE __m128 high(__m256 x) { return _mm256_extractf128_ps(x, 1); }

#ifdef __AVX512F__
// The masks take every lane: without one, GCC 12 warns of a variable inside its own header.
HG_INLINE __m512 max(__m512 a, __m512 b) { return _mm512_maskz_max_ps(0xffff, a, b); }
HG_INLINE __m512 min(__m512 a, __m512 b) { return _mm512_maskz_min_ps(0xffff, a, b); }
HG_INLINE __m512 sqrt(__m512 x) { return _mm512_maskz_sqrt_ps(0xffff, x); }
HG_INLINE __m256 low(__m512 x) { return _mm512_maskz_extractf32x8_ps(0xff, x, 0); }
HG_INLINE __m256 high(__m512 x) { return _mm512_maskz_extractf32x8_ps(0xff, x, 1); }
HG_INLINE __m512d to_f64(__m256 x) { return _mm512_maskz_cvtps_pd(0xff, x); }
/// The first `count` lanes of a vector in memory, which ends there; zeros in the others.
HG_INLINE __m512 load_first(const float* p, std::int64_t count) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1U << count) - 1), p);
}
HG_INLINE __m256i load_first(const std::uint16_t* p, std::int64_t count) {
  return _mm256_maskz_loadu_epi16(static_cast<__mmask16>((1U << count) - 1), p);
}
HG_INLINE void store_first(float* p, __m512 x, std::int64_t count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << count) - 1), x);
}
HG_INLINE void store_first(std::uint16_t* p, __m256i x, std::int64_t count) {
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1U << count) - 1), x);
}
HG_INLINE __m512i widen_u16(__m256i x) { return _mm512_maskz_cvtepu16_epi32(0xffff, x); }
/// The upper halves of the 32-bit lanes.
HG_INLINE __m256i upper_u16(__m512i x) {
  const __m512i odd = _mm512_set_epi16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31, 29, 27,
                                       25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  return _mm512_maskz_extracti32x8_epi32(0xff, _mm512_maskz_permutexvar_epi16(~0U, odd, x), 0);
}
#else
HG_INLINE __m256 min(__m256 a, __m256 b) { return _mm256_min_ps(a, b); }
HG_INLINE __m256 sqrt(__m256 x) { return _mm256_sqrt_ps(x); }
HG_INLINE __m256d to_f64(__m128 x) { return _mm256_cvtps_pd(x); }
HG_INLINE __m256i first_lanes(std::int64_t count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
}
/// The first `count` lanes of a vector in memory, which ends there; zeros in the others.
HG_INLINE __m256 load_first(const float* p, std::int64_t count) {
  return _mm256_maskload_ps(p, first_lanes(count));
}
HG_INLINE __m128i load_first(const std::uint16_t* p, std::int64_t count) {
  __m128i x{};  // no instruction masks 16-bit lanes
  std::memcpy(&x, p, static_cast<std::size_t>(count) * 2);
  return x;
}
HG_INLINE void store_first(float* p, __m256 x, std::int64_t count) {
  _mm256_maskstore_ps(p, first_lanes(count), x);
}
HG_INLINE void store_first(std::uint16_t* p, __m128i x, std::int64_t count) {
  std::memcpy(p, &x, static_cast<std::size_t>(count) * 2);
}
HG_INLINE __m256i widen_u16(__m128i x) { return _mm256_cvtepu16_epi32(x); }
/// The upper halves of the 32-bit lanes.
HG_INLINE __m128i upper_u16(__m256i x) {
  const __m256i shifted = _mm256_srli_epi32(x, 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(shifted), _mm256_extracti128_si256(shifted, 1));
}
#endif

/// Folds the upper half of the lanes onto the lower with `op` until one is left.
template <class Vector, class Op>
HG_INLINE float fold(Vector x, Op op) {
  if constexpr (sizeof(Vector) > sizeof(__m128)) {
    return fold(op(low(x), high(x)), op);
  } else {
    const __m128 pair = op(x, _mm_movehl_ps(x, x));
    return op(pair, _mm_movehdup_ps(pair))[0];
  }
}

}  // namespace HG_SIMD
}  // namespace hg
