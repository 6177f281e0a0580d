// CUDA bodies of ops/attention.h. The queries of a group of heads are rows (token, head), so that a
// block reads the keys and values of a group once for all its heads. Rows of several documents may
// share a block: what one does not see has the weight 0, and so must be finite. Heads have up to
// 256 elements, as 64, 128 or 256 with zeroes behind; rows that are not whole vectors of 16 bytes
// are copied element by element. bf16 is multiplied by tensor cores, f32 by multiply-adds.
#include "ops/attention.h"

#include "ops/cuda/attention_backward.h"
#include "ops/cuda/attention_forward.h"
#include "ops/cuda/attention_library.h"
#include "ops/cuda/kernel.h"

namespace hg {
namespace {

/// A block has rows of a group; the last, which see the most keys, go first.
template <class T, int width>
__global__ void __launch_bounds__(ForwardTiles<T, width>::kThreads)
    attention_forward(GroupRows<T> o, float* __restrict__ lse, GroupRows<const T> q,
                      GroupRows<const T> k, GroupRows<const T> v, SliceTable slices, float factor) {
  using Tiles = ForwardTiles<T, width>;
  HG_DYN_SHARED(memory);
  const typename Tiles::Stream stream{memory};
  const int group = static_cast<int>(blockIdx.y);
  const int row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Tiles::kRows;
  const int its_row = row + stream.lane_row();
  const Seen seen[2] = {seen_by_row(slices, q, its_row), seen_by_row(slices, q, its_row + 8)};
  const auto result = attend<T, width>(stream, q.of(group), row, k.of(group), v.of(group),
                                       seen_by_rows(slices, q, row, Tiles::kRows), seen, factor);
  put(stream.own(0), stream.warp_row(), stream.part() * Tiles::kColumns, result.o,
      1 / result.sum[0], 1 / result.sum[1]);
  for (int r = 0; r < 2; ++r) {
    const int i = its_row + 8 * r;
    if (stream.part() > 0 || lane_of_warp() % 4 > 0 || i >= q.count) continue;
    const std::int64_t head = group * q.group_size + q.head(i);
    lse[head * slices.queries + q.token(i)] = (result.top[r] + log2f(result.sum[r])) * kLn2;
  }
  __syncthreads();
  store_rows<Tiles::kRows>(o.of(group), stream.own(0), row);
}

/// What a row needs of the forward pass, by rows of a group: a block has the heads of one token, a
/// warp one at a time.
template <class T, int n>
__global__ void __launch_bounds__(128)
    find_query_rows(QueryRow* __restrict__ rows, GroupRows<const T> o, GroupRows<const T> d_o,
                    const float* __restrict__ lse, SliceTable slices, int heads) {
  const int token = static_cast<int>(blockIdx.x), warp = static_cast<int>(threadIdx.x) / 32;
  const Seen seen = slices.seen_by(token);
  for (int head = warp; head < heads; head += 4) {
    const int group = head / o.group_size, row = token * o.group_size + head % o.group_size;
    const T *its = o.of(group).row(row), *gradient = d_o.of(group).row(row);
    float dot = 0;
    for (int i = lane_of_warp(); i < o.d / n; i += 32) {
      const auto x = reinterpret_cast<const Elements<T, n>*>(its)[i];
      const auto y = reinterpret_cast<const Elements<T, n>*>(gradient)[i];
      for (int j = 0; j < n; ++j) dot += x[j] * y[j];
    }
    dot = warp_sum(dot);
    if (lane_of_warp() > 0) continue;
    const float log_sum = lse[static_cast<std::int64_t>(head) * slices.queries + token];
    rows[static_cast<std::int64_t>(group) * o.count + row] = {seen, log_sum * kLog2E, dot};
  }
}

template <class T, int width>
void forward(const AttentionForward& op, cudaStream_t stream) {
  using D = DeviceType<T>;
  using Tiles = ForwardTiles<D, width>;
  const GroupRows q = group_rows<T>(op.q);
  launch(attention_forward<D, width>, tiles_by_groups(q.count, Tiles::kRows, op.q.dim(1)),
         dim3(Tiles::kThreads), Tiles::Stream::kBytes, stream, group_rows<T>(op.o),
         op.lse.as<float>(), q, group_rows<T>(op.k), group_rows<T>(op.v),
         slice_table(op.documents, op.keys, op.q.dim(0), op.k.dim(0)), op.scale * kLog2E);
}

template <class T, int width>
void backward(const AttentionBackward& op, const Tensor& room, cudaStream_t stream) {
  using D = DeviceType<T>;
  using Tiles = BackwardTiles<D, width>;
  const std::int64_t groups = op.q.dim(1);
  const GroupRows q = group_rows<T>(op.q), d_o = group_rows<T>(op.d_o), o = group_rows<T>(op.o);
  const GroupRows k = group_rows<T>(op.k), v = group_rows<T>(op.v);
  const SliceTable slices = slice_table(op.documents, op.keys, op.q.dim(0), op.k.dim(0));
  auto* rows = static_cast<QueryRow*>(room.data());
  if (q.count > 0) {
    const bool wide = o.wide && d_o.wide;
    launch(wide ? find_query_rows<D, kWidest<D>> : find_query_rows<D, 1>,
           dim3(static_cast<unsigned>(op.q.dim(0))), dim3(128), 0, stream, rows, o, d_o,
           op.lse.as<float>(), slices, static_cast<int>(groups * op.q.dim(2)));
    launch(attention_dq<D, width>, tiles_by_groups(q.count, Tiles::kRows, groups),
           dim3(Tiles::kThreads), Tiles::Stream::kBytes, stream, group_rows<T>(op.dq), q, d_o, k, v,
           rows, slices, op.scale);
  }
  launch(attention_dkv<D, width>, tiles_by_groups(k.count, Tiles::kRows, groups),
         dim3(Tiles::kThreads), Tiles::Stream::kBytes, stream, group_rows<T>(op.dk),
         group_rows<T>(op.dv), q, d_o, k, v, rows, slices, op.scale);
}

}  // namespace

template <>
void cuda_kernel(const AttentionForward& op, Context& ctx, cudaStream_t stream) {
  if (op.q.numel() == 0) return;
  const ArenaScope scope(ctx.scratch);
  const Tensor room = op.scratch(ctx).library;
  const SdpaChoice choice = sdpa(ctx).choose(op, room ? room.bytes() : 0);
  if (choice.plan != nullptr) return run_plan(op, choice, room, stream);
  for_tiles(op.q.dtype(), op.q.dim(3),
            [&]<class T, int width>() { forward<T, width>(op, stream); });
}

template <>
void cuda_kernel(const AttentionBackward& op, Context& ctx, cudaStream_t stream) {
  if (op.k.numel() == 0) return;
  const ArenaScope scope(ctx.scratch);
  const AttentionBackward::Scratch scratch = op.scratch(ctx);
  const SdpaChoice choice = sdpa(ctx).choose(op, scratch.library ? scratch.library.bytes() : 0);
  if (choice.plan != nullptr) return run_plan(op, choice, scratch.library, ctx, stream);
  for_tiles(op.q.dtype(), op.q.dim(3),
            [&]<class T, int width>() { backward<T, width>(op, scratch.rows, stream); });
}

}  // namespace hg
