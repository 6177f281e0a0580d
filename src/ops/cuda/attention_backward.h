// The backward pass of attention, for attention.cu. It makes scores twice: by rows of queries for
// dq, and by rows of keys for dk and dv, so that every sum has one owner and one order.
#pragma once

#include "ops/cuda/attention_stream.h"

namespace hg {

/// A row of queries: what it sees, log2 of its softmax's denominator, and rowsum(do o).
struct alignas(16) QueryRow {
  Seen seen;
  float log_sum, delta;
};

/// As many rows as there is shared memory for two blocks at a time, or one where rows are long; and
/// as many columns of sums to a warp as it has registers for.
template <class T, int width>
struct BackwardTiles {
  static constexpr int kRowBytes = width * static_cast<int>(sizeof(T));
  static constexpr int kRows = kRowBytes <= 512 ? 64 : 32;
  static constexpr int kPassing = kRowBytes <= 128 ? 64 : kRowBytes <= 256 ? 32 : 16;
  static constexpr int kColumns = sizeof(T) == 4 || width < 128 ? 64 : 128;
  static constexpr int kThreads = kRows * 2 * (width / kColumns);
  using Stream = TileStream<T, width, kRows, 2, kPassing, 2>;
};

/// A block has rows of queries of a group, whose keys and values pass.
template <class T, int width>
__global__ void __launch_bounds__(BackwardTiles<T, width>::kThreads, 1)
    attention_dq(GroupRows<T> dq, GroupRows<const T> q, GroupRows<const T> d_o,
                 GroupRows<const T> k, GroupRows<const T> v, const QueryRow* __restrict__ rows,
                 SliceTable slices, float scale) {
  using Tiles = BackwardTiles<T, width>;
  constexpr int kKeys = Tiles::kPassing;
  HG_DYN_SHARED(memory);
  const typename Tiles::Stream stream{memory};
  const int group = static_cast<int>(blockIdx.y), column = lane_of_warp() % 4 * 2;
  const int row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Tiles::kRows;
  QueryRow its[2] = {};
  for (int r = 0; r < 2; ++r) {
    const int i = row + stream.lane_row() + 8 * r;
    if (i < q.count) its[r] = rows[static_cast<std::int64_t>(group) * q.count + i];
  }
  float sum[Tiles::kColumns / 8][4] = {};
  const int part = stream.part() * Tiles::kColumns;
  stream.run({q.of(group), d_o.of(group)}, row, {k.of(group), v.of(group)},
             seen_by_rows(slices, q, row, Tiles::kRows), [&](int stage, int key) {
               const TileView view(its[0].seen, its[1].seen, key, kKeys);
               if (!view.some) return;
               float p[kKeys / 8][4] = {};
               add_products(p, stream.own(0), stream.warp_row(), stream.tile(stage, 0));
#pragma unroll
               for (int i = 0; i < kKeys / 2; ++i) {
                 float& x = p[i / 4][i % 4];
                 const QueryRow& query = its[i % 4 / 2];
                 const bool seen = view.all || query.seen.has(key + i / 4 * 8 + column + i % 2);
                 x = seen ? fast_exp2(x * (scale * kLog2E) - query.log_sum) : 0;
               }
               float ds[kKeys / 8][4] = {};
               add_products(ds, stream.own(1), stream.warp_row(), stream.tile(stage, 1));
#pragma unroll
               for (int i = 0; i < kKeys / 2; ++i) {
                 float& x = ds[i / 4][i % 4];
                 x = p[i / 4][i % 4] * (x - its[i % 4 / 2].delta);
               }
               add_weighted(sum, ds, stream.tile(stage, 0), part);
             });
  put(stream.own(0), stream.warp_row(), part, sum, scale, scale);
  __syncthreads();
  store_rows<Tiles::kRows>(dq.of(group), stream.own(0), row);
}

/// A block has keys of a group, by which the rows of queries that may see them pass: heads are
/// added token by token.
template <class T, int width>
__global__ void __launch_bounds__(BackwardTiles<T, width>::kThreads, 1)
    attention_dkv(GroupRows<T> dk, GroupRows<T> dv, GroupRows<const T> q, GroupRows<const T> d_o,
                  GroupRows<const T> k, GroupRows<const T> v, const QueryRow* __restrict__ rows,
                  SliceTable slices, float scale) {
  using Tiles = BackwardTiles<T, width>;
  constexpr int kQueries = Tiles::kPassing, kColumns = Tiles::kColumns;
  HG_DYN_SHARED(memory);
  HG_SHARED(QueryRow, passing, [2][kQueries]);
  const typename Tiles::Stream stream{memory};
  const int group = static_cast<int>(blockIdx.y);
  const int first = static_cast<int>(blockIdx.x) * Tiles::kRows;  // of the block's keys
  const int its = stream.warp_row(), column = stream.part() * kColumns;
  const int key = first + its + lane_of_warp() / 4;
  const Seen tokens = slices.seeing(first, first + Tiles::kRows);
  rows += static_cast<std::int64_t>(group) * q.count;
  float dk_sum[kColumns / 8][4] = {}, dv_sum[kColumns / 8][4] = {};
  stream.run(
      {k.of(group), v.of(group)}, first, {q.of(group), d_o.of(group)},
      {tokens.first * q.group_size, tokens.last * q.group_size},
      [&](int stage, int row) {
        const int i = static_cast<int>(threadIdx.x);  // there are more threads than rows
        if (i < kQueries)
          copy_async_16(&passing[stage][i], rows + (row + i < q.count ? row + i : 0),
                        row + i < q.count);
      },
      [&](int stage, int) {
        const QueryRow* queries = passing[stage];
        bool some = false, all = true;
        for (int i = lane_of_warp(); i < kQueries; i += 32) {
          some = some || queries[i].seen.meets(first + its, first + its + 16);
          all = all && queries[i].seen.covers(first + its, first + its + 16);
        }
        if (__any_sync(kAllLanes, some) == 0) return;
        all = __all_sync(kAllLanes, all) != 0;
        const auto query = [&](int j, int e) { return 8 * j + lane_of_warp() % 4 * 2 + e % 2; };
        float p[kQueries / 8][4] = {};
        add_products(p, stream.own(0), its, stream.tile(stage, 0));
#pragma unroll
        for (int i = 0; i < kQueries / 2; ++i) {
          float& x = p[i / 4][i % 4];
          const QueryRow& its_query = queries[query(i / 4, i % 4)];
          const bool seen = all || its_query.seen.has(key + i % 4 / 2 * 8);
          x = seen ? fast_exp2(x * (scale * kLog2E) - its_query.log_sum) : 0;
        }
        add_weighted(dv_sum, p, stream.tile(stage, 1), column);
        float ds[kQueries / 8][4] = {};
        add_products(ds, stream.own(1), its, stream.tile(stage, 1));
#pragma unroll
        for (int i = 0; i < kQueries / 2; ++i) {
          float& x = ds[i / 4][i % 4];
          x = p[i / 4][i % 4] * (x - queries[query(i / 4, i % 4)].delta);
        }
        add_weighted(dk_sum, ds, stream.tile(stage, 0), column);
      });
  put(stream.own(0), its, column, dk_sum, scale, scale);
  put(stream.own(1), its, column, dv_sum, 1, 1);
  __syncthreads();
  store_rows<Tiles::kRows>(dk.of(group), stream.own(0), first);
  store_rows<Tiles::kRows>(dv.of(group), stream.own(1), first);
}

}  // namespace hg
