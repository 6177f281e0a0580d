// Matrix tiles: 8 registers of 16 rows x 64 bytes that multiply bf16 and sum in f32. Two classes
// with the same members: the processor's AMX unit, and its definition in plain C++ for tests and
// for reading. Only for files in ops/cpu/kernels.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "ops/cpu/simd.h"

namespace hg {
namespace {

/// Two vectors of bf16, one behind the other.
using U16Pair = std::uint16_t __attribute__((vector_size(kLanes * 4)));

/// AMX. Tiles are configured while an object lives, on the thread that made it. Instructions are
/// written out, since the intrinsics take tile numbers as text only, and do not tell the compiler
/// that they touch memory.
class AmxTiles {
 public:
  AmxTiles() {
    struct alignas(64) Configuration {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } configuration;
    static_assert(sizeof(Configuration) == 64);
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  ~AmxTiles() { asm volatile("tilerelease"); }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;

  /// Tile t = 0.
  template <int t>
  HG_INLINE void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(t));
  }
  /// Tile t = 16 rows of 64 bytes, `stride` bytes apart.
  template <int t>
  HG_INLINE void load(const void* rows, std::int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(t) : "memory");
  }
  template <int t>
  HG_INLINE void store(void* rows, std::int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride), "i"(t) : "memory");
  }
  /// c[m, n] += sum over k < 32 of a[m, k] b[k / 2, 2 n + k % 2]: a holds bf16 rows, b pairs of
  /// rows.
  template <int c, int a, int b>
  HG_INLINE void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }

  /// Rounds to nearest even; what is too small for a normal number becomes 0.
  static HG_INLINE std::array<U16, 2> to_bf16(F32 first, F32 second) {
    U16Pair both;
    asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(both) : "v"(first), "v"(second));
    return halves(both, std::make_index_sequence<kLanes>{});
  }

 private:
  template <std::size_t... i>
  static HG_INLINE std::array<U16, 2> halves(U16Pair x, std::index_sequence<i...>) {
    return {__builtin_shufflevector(x, x, i...), __builtin_shufflevector(x, x, (i + kLanes)...)};
  }
};

/// The same in C++, after the pseudocode of the instructions.
class EmulatedTiles {
 public:
  template <int t>
  void zero() {
    std::memset(tiles_[t], 0, sizeof(Tile));
  }
  template <int t>
  void load(const void* rows, std::int64_t stride) {
    for (int r = 0; r < 16; ++r)
      std::memcpy(tiles_[t][r], static_cast<const char*>(rows) + r * stride, 64);
  }
  template <int t>
  void store(void* rows, std::int64_t stride) const {
    for (int r = 0; r < 16; ++r)
      std::memcpy(static_cast<char*>(rows) + r * stride, tiles_[t][r], 64);
  }
  template <int c, int a, int b>
  void multiply() {
    for (int m = 0; m < 16; ++m) {
      float even[16] = {}, odd[16] = {};  // each half of the pairs is summed on its own
      for (int k = 0; k < 16; ++k) {
        for (int n = 0; n < 16; ++n) {
          even[n] += low(tiles_[a][m][k]) * low(tiles_[b][k][n]);
          odd[n] += high(tiles_[a][m][k]) * high(tiles_[b][k][n]);
        }
      }
      for (int n = 0; n < 16; ++n) {
        const float sum = std::bit_cast<float>(tiles_[c][m][n]) + (even[n] + odd[n]);
        tiles_[c][m][n] = std::bit_cast<std::uint32_t>(sum);
      }
    }
  }

  static HG_INLINE std::array<U16, 2> to_bf16(F32 first, F32 second) {
    return {round_bf16(first), round_bf16(second)};
  }

 private:
  using Tile = std::uint32_t[16][16];
  static float low(std::uint32_t pair) { return std::bit_cast<float>(pair << 16); }
  static float high(std::uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); }

  Tile tiles_[8];
};

}  // namespace
}  // namespace hg
