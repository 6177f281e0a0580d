// CUDA bodies of ops/inspect_attention.h. Rows are the queries of a group of heads, as in
// attention.cu; what a row adds to its head waits in scratch, and is added token by token.
#include "ops/inspect_attention.h"

#include "ops/cuda/attention_forward.h"
#include "ops/cuda/kernel.h"

namespace hg {
namespace {

constexpr int kThreads = 256;

/// Two values of each row, [KV G, T, 2].
struct RowValues {
  float* data;
  std::int64_t tokens;

  HG_DEVICE float* of(std::int64_t head, int token) const {
    return data + (head * tokens + token) * 2;
  }
};

/// Only queries and keys are in shared memory.
template <class T, int width>
using ScoreStream = TileStream<T, width, 64, 1, sizeof(T) * width <= 512 ? 32 : 16, 1>;

/// The two rows of a lane: of which query and head, and log2 of the denominator of their softmax.
struct LaneRows {
  bool there[2];
  int token[2];
  std::int64_t head[2];
  float log_sum[2];

  template <class T>
  HG_DEVICE LaneRows(const GroupRows<T>& q, int group, int row, const float* lse, int tokens) {
    for (int r = 0; r < 2; ++r) {
      const int its = row + 8 * r;
      there[r] = its < q.count;
      token[r] = there[r] ? q.token(its) : 0;
      head[r] = group * q.group_size + (there[r] ? q.head(its) : 0);
      log_sum[r] = there[r] ? lse[head[r] * tokens + token[r]] * kLog2E : 0;
    }
  }
};

/// A block has rows of a group: per row, the entropy in bits and the highest score.
template <class T, int width>
__global__ void __launch_bounds__(128, 1)
    find_entropies(RowValues values, GroupRows<const T> q, GroupRows<const T> k,
                   const float* __restrict__ lse, SliceTable slices, float factor) {
  using Stream = ScoreStream<T, width>;
  HG_DYN_SHARED(memory);
  const Stream stream{memory};
  const int group = static_cast<int>(blockIdx.y), column = lane_of_warp() % 4 * 2;
  const int row = static_cast<int>(gridDim.x - 1 - blockIdx.x) * Stream::kRows;
  const int its_row = row + stream.lane_row();
  const Seen seen[2] = {seen_by_row(slices, q, its_row), seen_by_row(slices, q, its_row + 8)};
  const LaneRows rows(q, group, its_row, lse, slices.queries);
  float bits[2] = {}, highest[2] = {kLowest, kLowest};
  stream.run({q.of(group)}, row, {k.of(group)}, seen_by_rows(slices, q, row, Stream::kRows),
             [&](int stage, int key) {
               if (!TileView(seen[0], seen[1], key, Stream::kPassing).some) return;
               float s[Stream::kPassing / 8][4] = {};
               add_products(s, stream.own(0), stream.warp_row(), stream.tile(stage, 0));
#pragma unroll
               for (int i = 0; i < Stream::kPassing / 2; ++i) {
                 const int r = i % 4 / 2;
                 const float score = s[i / 4][i % 4];
                 if (!seen[r].has(key + i / 4 * 8 + column + i % 2)) continue;
                 const float log_p = score * factor - rows.log_sum[r];
                 bits[r] -= log_p < -126 ? 0 : fast_exp2(log_p) * log_p;  // NaN stays
                 highest[r] = fmaxf(highest[r], score);
               }
             });
  for (int r = 0; r < 2; ++r) {
    const float sum = over_row(bits[r], [](float a, float b) { return a + b; });
    const float top = over_row(highest[r], [](float a, float b) { return fmaxf(a, b); });
    if (!rows.there[r] || lane_of_warp() % 4 > 0) continue;
    float* out = values.of(rows.head[r], rows.token[r]);
    out[0] = sum;
    out[1] = top;
  }
}

/// A block has rows of a group, and writes their rows of the map: 0 for keys that they do not see.
template <class T, int width>
__global__ void __launch_bounds__(128, 1)
    fill_map(float* __restrict__ out, GroupRows<const T> q, GroupRows<const T> k,
             const float* __restrict__ lse, SliceTable slices, float factor) {
  using Stream = ScoreStream<T, width>;
  HG_DYN_SHARED(memory);
  const Stream stream{memory};
  const int group = static_cast<int>(blockIdx.y), column = lane_of_warp() % 4 * 2;
  const int row = static_cast<int>(blockIdx.x) * Stream::kRows, its_row = row + stream.lane_row();
  const Seen seen[2] = {seen_by_row(slices, q, its_row), seen_by_row(slices, q, its_row + 8)};
  const int tokens = slices.queries;
  const LaneRows rows(q, group, its_row, lse, tokens);
  stream.run({q.of(group)}, row, {k.of(group)}, {0, tokens}, [&](int stage, int key) {
    float s[Stream::kPassing / 8][4] = {};
    if (TileView(seen[0], seen[1], key, Stream::kPassing).some)
      add_products(s, stream.own(0), stream.warp_row(), stream.tile(stage, 0));
#pragma unroll
    for (int i = 0; i < Stream::kPassing / 2; ++i) {
      const int r = i % 4 / 2, its_key = key + i / 4 * 8 + column + i % 2;
      if (!rows.there[r] || its_key >= tokens) continue;
      out[(rows.head[r] * tokens + rows.token[r]) * tokens + its_key] =
          seen[r].has(its_key) ? fast_exp2(s[i / 4][i % 4] * factor - rows.log_sum[r]) : 0;
    }
  });
}

/// A warp has one row at a time: its share, and that of a late one, else 0.
template <class T>
__global__ void __launch_bounds__(kThreads)
    find_shares(RowValues values, GroupRows<const T> q, GroupRows<const T> k,
                const float* __restrict__ lse, const std::int32_t* __restrict__ positions,
                SliceTable slices, int heads, float factor) {
  const int token = static_cast<int>(blockIdx.x);
  const Seen seen = slices.seen_by(token);
  const bool late = positions[seen.last - 1] >= FirstTokenShare::kEarly;
  for (int head = static_cast<int>(threadIdx.x) / 32; head < heads; head += kThreads / 32) {
    const int group = head / q.group_size;
    const T* query = q.of(group).row(token * q.group_size + head % q.group_size);
    const T* key = k.of(group).row(seen.first);
    float dot = 0;
    for (int c = lane_of_warp(); c < q.d; c += 32) dot += to_f32(query[c]) * to_f32(key[c]);
    dot = warp_sum(dot);
    if (lane_of_warp() > 0) continue;
    const float log_sum = lse[static_cast<std::int64_t>(head) * slices.queries + token] * kLog2E;
    float* out = values.of(head, token);
    out[0] = fast_exp2(dot * factor - log_sum);
    out[1] = late ? out[0] : 0;
  }
}

/// Sums over the block, each in the order of threads, in all of them; f64.
HG_DEVICE double block_sum(double x) {
  HG_SHARED(double, partial, [kThreads / 32]);
  __syncthreads();  // the last sum has been read
  return row_sum(x, partial);
}
HG_DEVICE float block_max(float x) {
  HG_SHARED(float, highest, [kThreads]);
  highest[threadIdx.x] = x;
  __syncthreads();
  for (int i = 0; i < kThreads; ++i) x = fmaxf(x, highest[i]);
  return x;
}

/// A block has one head.
__global__ void __launch_bounds__(kThreads)
    add_entropies(float* __restrict__ out, RowValues values, int keys, float scale) {
  const int head = static_cast<int>(blockIdx.x);
  double bits = 0;
  float top = kLowest;
  for (int t = static_cast<int>(threadIdx.x); t < values.tokens; t += kThreads) {
    bits += static_cast<double>(values.of(head, t)[0]);
    top = fmaxf(top, values.of(head, t)[1]);
  }
  const double nats = block_sum(bits) * std::numbers::ln2_v<double>;
  top = block_max(top);
  if (threadIdx.x > 0) return;
  out[2 * head] = static_cast<float>(nats / keys);
  out[2 * head + 1] = nats != nats ? static_cast<float>(nats) : scale * top;
}

__global__ void __launch_bounds__(kThreads)
    add_shares(float* __restrict__ out, RowValues values,
               const std::int32_t* __restrict__ positions, int keys) {
  const int head = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  double all = 0, late = 0, late_keys = 0;
  for (int t = thread; t < values.tokens; t += kThreads) {
    all += static_cast<double>(values.of(head, t)[0]);
    late += static_cast<double>(values.of(head, t)[1]);
  }
  for (int s = thread; s < keys; s += kThreads)
    late_keys += positions[s] >= FirstTokenShare::kEarly ? 1 : 0;
  all = block_sum(all);
  late = block_sum(late);
  late_keys = block_sum(late_keys);
  if (thread > 0) return;
  out[2 * head] = static_cast<float>(all / keys);
  out[2 * head + 1] = static_cast<float>(late / late_keys);
}

template <class T, int width>
void launch_entropies(const AttentionEntropy& op, RowValues values, cudaStream_t stream) {
  using Stream = ScoreStream<DeviceType<T>, width>;
  const GroupRows q = group_rows<T>(op.q);
  launch(find_entropies<DeviceType<T>, width>, tiles_by_groups(q.count, 64, op.q.dim(1)), dim3(128),
         Stream::kBytes, stream, values, q, group_rows<T>(op.k), op.lse.as<float>(),
         slice_table(op.documents, op.keys, op.q.dim(0), op.k.dim(0)), op.scale * kLog2E);
}

template <class T, int width>
void launch_map(const AttentionMap& op, cudaStream_t stream) {
  using Stream = ScoreStream<DeviceType<T>, width>;
  const GroupRows q = group_rows<T>(op.q);
  launch(fill_map<DeviceType<T>, width>, tiles_by_groups(q.count, 64, op.q.dim(1)), dim3(128),
         Stream::kBytes, stream, op.out.as<float>(), q, group_rows<T>(op.k), op.lse.as<float>(),
         slice_table(op.documents, {}, op.q.dim(0), op.k.dim(0)), op.scale * kLog2E);
}

template <class T>
void launch_shares(const FirstTokenShare& op, RowValues values, cudaStream_t stream) {
  launch(find_shares<DeviceType<T>>, dim3(static_cast<unsigned>(op.q.dim(0))), dim3(kThreads), 0,
         stream, values, group_rows<T>(op.q), group_rows<T>(op.k), op.lse.as<float>(),
         op.positions.as<std::int32_t>(),
         slice_table(op.documents, op.keys, op.q.dim(0), op.k.dim(0)),
         static_cast<int>(op.q.dim(1) * op.q.dim(2)), op.scale * kLog2E);
}

}  // namespace

template <>
void cuda_kernel(const FirstTokenShare& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const RowValues values{op.scratch(ctx).as<float>(), op.q.dim(0)};
  if (op.q.numel() > 0) {
    op.q.dtype() == DType::f32 ? launch_shares<float>(op, values, stream)
                               : launch_shares<bf16>(op, values, stream);
  }
  launch(add_shares, dim3(static_cast<unsigned>(op.out.dim(0))), dim3(kThreads), 0, stream,
         op.out.as<float>(), values, op.positions.as<std::int32_t>(),
         static_cast<int>(op.k.dim(0)));
}

template <>
void cuda_kernel(const AttentionEntropy& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const RowValues values{op.scratch(ctx).partials.as<float>(), op.q.dim(0)};
  if (op.q.numel() > 0) {
    for_tiles(op.q.dtype(), op.q.dim(3),
              [&]<class T, int width>() { launch_entropies<T, width>(op, values, stream); });
  }
  launch(add_entropies, dim3(static_cast<unsigned>(op.out.dim(0))), dim3(kThreads), 0, stream,
         op.out.as<float>(), values, static_cast<int>(op.k.dim(0)), op.scale);
}

template <>
void cuda_kernel(const AttentionMap& op, Context&, cudaStream_t stream) {
  if (op.q.numel() == 0) return;
  for_tiles(op.q.dtype(), op.q.dim(3),
            [&]<class T, int width>() { launch_map<T, width>(op, stream); });
}

}  // namespace hg
