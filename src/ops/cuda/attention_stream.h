// The loop that all passes of attention share: a block keeps some rows in shared memory, and tiles
// of other rows pass by, the next being copied while a block works on one.
#pragma once

#include <numbers>

#include "ops/cuda/attention_tiles.h"

namespace hg {

inline constexpr float kLowest = -1e30F;  // less than any score; differences are finite
inline constexpr float kLog2E = std::numbers::log2e_v<float>, kLn2 = std::numbers::ln2_v<float>;

/// `rows` rows each of `kept` operands, and tiles of `passing_rows` each of `passing` operands. A
/// warp has 16 of the rows; where sums over a whole row are too much for its registers, some warps
/// have the same rows and different columns of the sums.
template <class T, int width, int rows, int kept, int passing_rows, int passing>
struct TileStream {
  using Its = Tile<T, width>;
  static constexpr int kRows = rows, kPassing = passing_rows, kWarps = rows / 16;
  static constexpr int kBytes =
      (kept * rows + 2 * passing * passing_rows) * width * static_cast<int>(sizeof(T));
  unsigned char* memory;  // kBytes

  HG_DEVICE Its own(int operand) const {
    return {reinterpret_cast<T*>(memory) + operand * rows * width};
  }
  HG_DEVICE Its tile(int stage, int operand) const {
    return {own(kept).data + (stage * passing + operand) * passing_rows * width};
  }

  /// The first row of the calling warp, that of the calling lane, and the warp's part of columns.
  HG_DEVICE static int warp_row() { return static_cast<int>(threadIdx.x) / 32 % kWarps * 16; }
  HG_DEVICE static int lane_row() { return warp_row() + lane_of_warp() / 4; }
  HG_DEVICE static int part() { return static_cast<int>(threadIdx.x) / 32 / kWarps; }

  /// Keeps rows [row, row + rows). Of the others, [range.first, range.last), calls
  /// fn(stage, first row) for each tile; `copy_more(stage, first row)` starts copies that go with
  /// one. Afterwards, the memory is free for other use.
  template <class CopyMore, class Fn>
  HG_DEVICE void run(const GroupRows<const T> (&keep)[kept], int row,
                     const GroupRows<const T> (&pass)[passing], Seen range, CopyMore&& copy_more,
                     Fn&& fn) const {
    const auto start = [&](int stage, int first) {
      for (int i = 0; i < passing; ++i) start_copy<passing_rows>(tile(stage, i), pass[i], first);
      copy_more(stage, first);
      commit_copies();
    };
    for (int i = 0; i < kept; ++i) start_copy<rows>(own(i), keep[i], row);
    start(0, range.first);
    for (int stage = 0, first = range.first; first < range.last;
         first += passing_rows, stage ^= 1) {
      wait_for_copies<0>();
      __syncthreads();  // the tile is there for all, and nobody uses the one before any more
      if (first + passing_rows < range.last) start(stage ^ 1, first + passing_rows);
      fn(stage, first);
    }
    wait_for_copies<0>();
    __syncthreads();
  }
  template <class Fn>
  HG_DEVICE void run(const GroupRows<const T> (&keep)[kept], int row,
                     const GroupRows<const T> (&pass)[passing], Seen range, Fn&& fn) const {
    run(
        keep, row, pass, range, [](int, int) {}, fn);
  }
};

/// What a group's row of queries sees; nothing if there is no such row.
template <class T>
HG_DEVICE Seen seen_by_row(const SliceTable& slices, const GroupRows<T>& q, int row) {
  return row < q.count ? slices.seen_by(q.token(row)) : Seen{0, 0};
}
/// What any of rows [row, row + rows) sees; there is one.
template <class T>
HG_DEVICE Seen seen_by_rows(const SliceTable& slices, const GroupRows<T>& q, int row, int rows) {
  return slices.seen_by(q.token(row), q.token(min(row + rows, q.count) - 1));
}

/// Of a tile of keys and the warp's rows, of which each lane has two.
struct TileView {
  bool some, all;  // whether any row sees any of its keys; every row all

  HG_DEVICE TileView(const Seen& first, const Seen& second, int key, int keys)
      : some(__any_sync(kAllLanes, first.meets(key, key + keys) || second.meets(key, key + keys)) !=
             0),
        all(__all_sync(kAllLanes,
                       first.covers(key, key + keys) && second.covers(key, key + keys)) != 0) {}
};

inline dim3 tiles_by_groups(std::int64_t rows, int rows_of_tile, std::int64_t groups) {
  return {static_cast<unsigned>((rows + rows_of_tile - 1) / rows_of_tile),
          static_cast<unsigned>(groups)};
}

}  // namespace hg
