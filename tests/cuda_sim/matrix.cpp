// The tensor operations of a warp, as the PTX manual lays their operands out over its lanes.
#include <bit>

#include "cuda_sim/kernel.h"

namespace cuda_sim {
namespace {

constexpr unsigned kM = 16, kN = 8, kK = 16;

/// The two bf16 of a register, the lower half first.
std::array<float, 2> pair_of(std::uint32_t bits) {
  return {std::bit_cast<float>(bits << 16), std::bit_cast<float>(bits & 0xffff0000U)};
}

struct Tiles {
  float a[kM][kK], b[kK][kN], c[kM][kN];
};

/// Lane 4 g + t holds of a: rows g and g + 8, columns 2t, 2t + 1 and those 8 to the right; of b:
/// rows as a's columns, column g; of c: rows as a's, columns 2t, 2t + 1.
Tiles gather(const WarpOperands& warp) {
  Tiles tiles;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const auto its = warp.get<MmaOperands>(lane);
    const unsigned g = lane / 4, t = lane % 4 * 2;
    for (unsigned i = 0; i < 4; ++i) {
      const auto pair = pair_of(its.a[i]);
      for (unsigned j = 0; j < 2; ++j) {
        tiles.a[g + i % 2 * 8][t + i / 2 * 8 + j] = pair[j];
        tiles.c[g + i / 2 * 8][t + i % 2] = its.d[i];
      }
    }
    for (unsigned i = 0; i < 2; ++i)
      for (unsigned j = 0; j < 2; ++j) tiles.b[t + i * 8 + j][g] = pair_of(its.b[i])[j];
  }
  return tiles;
}

/// Lanes 8 m to 8 m + 7 have the rows of matrix m; lane 4 g + t gets the elements 2t and 2t + 1 of
/// row g or, transposed, of column g.
template <bool transposed>
void load(const WarpOperands& warp) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    std::array<std::uint16_t, 8> result{};
    for (unsigned m = 0; m < 4; ++m) {
      for (unsigned j = 0; j < 2; ++j) {
        const unsigned g = lane / 4, t = lane % 4 * 2 + j;
        const auto* row = warp.get<const std::uint16_t*>(8 * m + (transposed ? t : g));
        result[2 * m + j] = row[transposed ? g : t];
      }
    }
    warp.put(lane, result);
  }
}

}  // namespace

void multiply_matrices(const WarpOperands& warp) {
  Tiles tiles = gather(warp);
  for (unsigned m = 0; m < kM; ++m)
    for (unsigned k = 0; k < kK; ++k)
      for (unsigned n = 0; n < kN; ++n) tiles.c[m][n] += tiles.a[m][k] * tiles.b[k][n];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const unsigned g = lane / 4, t = lane % 4 * 2;
    warp.put(lane, std::array{tiles.c[g][t], tiles.c[g][t + 1], tiles.c[g + 8][t],
                              tiles.c[g + 8][t + 1]});
  }
}

void load_matrices(const WarpOperands& warp) { load<false>(warp); }
void load_transposed_matrices(const WarpOperands& warp) { load<true>(warp); }

}  // namespace cuda_sim
