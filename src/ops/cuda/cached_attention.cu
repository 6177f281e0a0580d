// CUDA bodies of ops/cached_attention.h. For attention, the cache is cut into pieces, so that a
// few queries keep the device busy: the forward pass of attention for each, then their sum.
#include "ops/cached_attention.h"

#include "ops/cuda/attention_forward.h"
#include "ops/cuda/kernel.h"

namespace hg {
namespace {

constexpr int kThreads = 128;  // of the sum

/// What pieces of the cache contribute to `rows` rows in all: outputs [pieces, rows, d], which are
/// relative to their highest exponent (base 2), and the sums of their weights, [pieces, rows] each.
struct Partials {
  float *o, *top, *sum;
  std::int64_t rows;
  int pieces, d;
};

/// A block has rows of a group and a piece of the cache.
template <class T, int width>
__global__ void __launch_bounds__(ForwardTiles<T, width>::kThreads, 1)
    attend_piece(Partials partials, GroupRows<const T> q, GroupRows<const T> k,
                 GroupRows<const T> v, SliceTable slices, int keys_of_piece, float factor) {
  using Tiles = ForwardTiles<T, width>;
  HG_DYN_SHARED(memory);
  const typename Tiles::Stream stream{memory};
  const int group = static_cast<int>(blockIdx.y), piece = static_cast<int>(blockIdx.z);
  const int row = static_cast<int>(blockIdx.x) * Tiles::kRows, its_row = row + stream.lane_row();
  const int begin = piece * keys_of_piece;
  const auto within = [&](Seen seen) {
    return Seen{max(seen.first, begin), min(seen.last, begin + keys_of_piece)};
  };
  const Seen seen[2] = {within(seen_by_row(slices, q, its_row)),
                        within(seen_by_row(slices, q, its_row + 8))};
  const auto result =
      attend<T, width>(stream, q.of(group), row, k.of(group), v.of(group),
                       within(seen_by_rows(slices, q, row, Tiles::kRows)), seen, factor);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int i = its_row + 8 * r;
    if (i >= q.count) continue;
    const std::int64_t place =
        piece * partials.rows + static_cast<std::int64_t>(group) * q.count + i;
    const int column = stream.part() * Tiles::kColumns + lane_of_warp() % 4 * 2;
#pragma unroll
    for (int j = 0; j < Tiles::kColumns / 4; ++j) {
      const int c = column + j / 2 * 8 + j % 2;
      if (c < partials.d) partials.o[place * partials.d + c] = result.o[j / 2][2 * r + j % 2];
    }
    if (stream.part() > 0 || lane_of_warp() % 4 > 0) continue;
    partials.top[place] = result.top[r];
    partials.sum[place] = result.sum[r];
  }
}

/// A block has one row; `sinks` is null where they are 0, `sink` false where there are none.
template <class T>
__global__ void __launch_bounds__(kThreads)
    add_pieces(GroupRows<T> o, Partials partials, const T* __restrict__ sinks, bool sink) {
  const int row = static_cast<int>(blockIdx.x), group = static_cast<int>(blockIdx.y);
  const std::int64_t place = static_cast<std::int64_t>(group) * o.count + row;
  float top = kLowest, sum = 0, sink_exponent = 0;
  if (sink) {
    if (sinks != nullptr)
      sink_exponent = to_f32(sinks[group * o.group_size + o.head(row)]) * kLog2E;
    top = sink_exponent;
  }
  for (int i = 0; i < partials.pieces; ++i)
    top = fmaxf(top, partials.top[i * partials.rows + place]);
  if (sink) sum = fast_exp2(sink_exponent - top);
  for (int i = 0; i < partials.pieces; ++i) {
    const std::int64_t its = i * partials.rows + place;
    sum += partials.sum[its] * fast_exp2(partials.top[its] - top);
  }
  T* out = o.of(group).row(row);
  for (int c = static_cast<int>(threadIdx.x); c < o.d; c += kThreads) {
    float x = 0;
    for (int i = 0; i < partials.pieces; ++i) {
      const std::int64_t its = i * partials.rows + place;
      x += partials.o[its * partials.d + c] * fast_exp2(partials.top[its] - top);
    }
    out[c] = from_f32<T>(x / sum);
  }
}

template <class T, int width>
void attend(const CachedAttention& op, const Tensor& room, cudaStream_t stream) {
  using D = DeviceType<T>;
  using Tiles = ForwardTiles<D, width>;
  const std::int64_t groups = op.q.dim(1), keys = op.k.dim(0), pieces = room.dim(0);
  const std::int64_t keys_of_piece = (keys + pieces - 1) / pieces;
  const GroupRows q = group_rows<T>(op.q);
  const std::int64_t rows = groups * q.count, places = pieces * rows;
  float *const o = room.as<float>(), *const top = o + places * q.d;
  const Partials partials{.o = o,
                          .top = top,
                          .sum = top + places,
                          .rows = rows,
                          .pieces = static_cast<int>(pieces),
                          .d = q.d};
  const SliceTable slices{.documents = nullptr,
                          .keys = nullptr,
                          .count = 1,
                          .queries = static_cast<int>(op.q.dim(0)),
                          .key_rows = static_cast<int>(keys)};
  dim3 grid = tiles_by_groups(q.count, Tiles::kRows, groups);
  grid.z = static_cast<unsigned>(pieces);
  launch(attend_piece<D, width>, grid, dim3(Tiles::kThreads), Tiles::Stream::kBytes, stream,
         partials, q, group_rows<T>(op.k), group_rows<T>(op.v), slices,
         static_cast<int>(keys_of_piece), op.scale * kLog2E);
  launch(add_pieces<D>, tiles_by_groups(q.count, 1, groups), dim3(kThreads), 0, stream,
         group_rows<T>(op.o), partials, device_pointer<T>(op.sinks), op.sink);
}

}  // namespace

template <>
void cuda_kernel(const CachedAttention& op, Context& ctx, cudaStream_t stream) {
  if (op.q.numel() == 0) return;
  const ArenaScope scope(ctx.scratch);
  const Tensor room = op.scratch(ctx);
  for_tiles(op.q.dtype(), op.q.dim(3),
            [&]<class T, int width>() { attend<T, width>(op, room, stream); });
}

}  // namespace hg
