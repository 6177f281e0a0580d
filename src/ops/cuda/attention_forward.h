// The forward pass of attention for a block's rows, for attention.cu and cached_attention.cu.
#pragma once

#include "ops/cuda/attention_stream.h"

namespace hg {

/// Queries stay, keys and values pass.
template <class T, int width>
struct ForwardTiles {
  static constexpr int kRowBytes = width * static_cast<int>(sizeof(T));
  static constexpr int kRows = kRowBytes <= 512 ? 64 : 32;
  static constexpr int kKeys = kRowBytes <= 256 ? 64 : 16384 / kRowBytes;
  static constexpr int kColumns = sizeof(T) == 2 ? width : 64;
  static constexpr int kThreads = kRows * 2 * (width / kColumns);
  using Stream = TileStream<T, width, kRows, 1, kKeys, 2>;
};

/// Columns of two rows of an output, as a lane has its part of them (attention_tiles.h), and their
/// softmax: the highest exponent (base 2), and the sum of weights relative to it.
template <int columns>
struct OnlineSoftmax {
  float o[columns / 8][4] = {};
  float top[2] = {kLowest, kLowest}, sum[2] = {};

  /// Turns scores of keys from `key` on into weights, zero for those that a row does not see, and
  /// brings what was added before to the new maximum. The sum is the lane's own until the end.
  template <int n>
  HG_DEVICE void weigh(float (&s)[n][4], const Seen (&seen)[2], int key, bool all, float factor) {
    const int column = key + lane_of_warp() % 4 * 2;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float highest = top[r];
#pragma unroll
      for (int i = 0; i < 2 * n; ++i) {
        float& x = s[i / 2][2 * r + i % 2];
        x = all || seen[r].has(column + i / 2 * 8 + i % 2) ? x * factor : -INFINITY;
        highest = fmaxf(highest, x);
      }
      highest = over_row(highest, [](float a, float b) { return fmaxf(a, b); });
      const float shrink = fast_exp2(top[r] - highest);
      top[r] = highest;
      sum[r] *= shrink;
#pragma unroll
      for (int i = 0; i < columns / 4; ++i) o[i / 2][2 * r + i % 2] *= shrink;
#pragma unroll
      for (int i = 0; i < 2 * n; ++i) {
        float& x = s[i / 2][2 * r + i % 2];
        x = fast_exp2(x - highest);
        sum[r] += x;
      }
    }
  }
};

/// The block's rows from `row` on over `keys`, of which the lane's two see those in `seen`.
template <class T, int width>
HG_DEVICE auto attend(const typename ForwardTiles<T, width>::Stream& stream,
                      const GroupRows<const T>& q, int row, const GroupRows<const T>& k,
                      const GroupRows<const T>& v, Seen keys, const Seen (&seen)[2], float factor) {
  using Tiles = ForwardTiles<T, width>;
  constexpr int kKeys = Tiles::kKeys;
  OnlineSoftmax<Tiles::kColumns> result;
  stream.run({q}, row, {k, v}, keys, [&](int stage, int key) {
    const TileView view(seen[0], seen[1], key, kKeys);
    if (!view.some) return;
    float s[kKeys / 8][4] = {};
    add_products(s, stream.own(0), stream.warp_row(), stream.tile(stage, 0));
    result.weigh(s, seen, key, view.all, factor);
    add_weighted(result.o, s, stream.tile(stage, 1), stream.part() * Tiles::kColumns);
  });
  for (float& sum : result.sum) sum = over_row(sum, [](float a, float b) { return a + b; });
  return result;
}

}  // namespace hg
