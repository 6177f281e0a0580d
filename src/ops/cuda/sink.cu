// CUDA bodies of ops/sink.h: up to a warp for every head of a token, one pass.
#include "ops/sink.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/pieces.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

constexpr std::int64_t kTokens = SinkBackward::kTokensPerPiece;

template <class T, int n>
__global__ void __launch_bounds__(kCoverThreads)
    sink_forward(Heads<T> o, float* __restrict__ lses, const T* __restrict__ sinks, HeadCount heads,
                 std::int64_t tokens, int vectors) {
  const unsigned number = cover_row();
  const bool there = number < heads.all;
  const Head head = heads[there ? number : 0];
  const unsigned its = head.j * heads.of_group + head.g;
  const float sink = sinks != nullptr ? to_f32(sinks[its]) : 0.0F;
  float* const place = lses + its * tokens + head.t;
  const float lse = there ? *place : 0.0F;
  // The weights that are left to the keys; no difference of large logsumexps.
  const float share = 1.0F / (1.0F + expf(sink - lse));
  __syncwarp();  // all lanes have read what the first replaces
  if (!there) return;
  if (threadIdx.x == 0) *place = fmaxf(lse, sink) + log1pf(expf(-fabsf(lse - sink)));
  for (int i = cover_column(); i < vectors; i += static_cast<int>(blockDim.x)) {
    auto out = load_vector<n>(o[head], i);
    for (int j = 0; j < n; ++j) out.set(j, out[j] * share);
    store_vector(o[head], i, out);
  }
}

/// A head of a piece of kTokens tokens a block, blockDim.y tokens at a time, each with its own sum;
/// these are added in order at the end.
template <class T, int n>
__global__ void __launch_bounds__(kCoverThreads)
    sink_backward(float* __restrict__ pieces, Heads<const T> d_o, Heads<const T> o,
                  const float* __restrict__ lses, const T* __restrict__ sinks, HeadCount heads,
                  std::int64_t tokens, int vectors) {
  HG_SHARED(float, sums, [kCoverThreads]);
  const unsigned of_token = heads.groups * heads.of_group, its = blockIdx.x % of_token;
  const std::int64_t begin = blockIdx.x / of_token * kTokens;
  const float sink = to_f32(sinks[its]);
  float sum = 0;
  for (int k = 0; k < kTokens; k += static_cast<int>(blockDim.y)) {
    const std::int64_t t = begin + k + threadIdx.y;
    const bool there = k + static_cast<int>(threadIdx.y) < kTokens && t < tokens;
    const Head head{static_cast<unsigned>(t), its / heads.of_group, its % heads.of_group};
    float dot = 0;
    for (int i = static_cast<int>(threadIdx.x); there && i < vectors;
         i += static_cast<int>(blockDim.x)) {
      const auto d = load_vector<n>(d_o[head], i), out = load_vector<n>(o[head], i);
      for (int j = 0; j < n; ++j) dot += d[j] * out[j];
    }
    dot = lanes_sum(dot);
    if (there) sum -= expf(sink - lses[its * tokens + t]) * dot;
  }
  if (threadIdx.x == 0) sums[threadIdx.y] = sum;
  __syncthreads();
  if (threadIdx.x > 0 || threadIdx.y > 0) return;
  for (unsigned r = 1; r < blockDim.y; ++r) sum += sums[r];
  pieces[blockIdx.x] = sum;
}

}  // namespace

template <>
void cuda_kernel(const SinkForward& op, Context&, cudaStream_t stream) {
  if (op.o.numel() == 0) return;
  for_vectors(op.o.dtype(), wide({op.o}), [&]<class T, int n>() {
    const HeadCount heads = heads_in(op.o.shape());
    const auto vectors = static_cast<int>(op.o.dim(3) / n);
    const Cover cover = cover_rows(heads.all, vectors);
    launch(sink_forward<DeviceType<T>, n>, cover.grid, cover.block, 0, stream, heads_of<T>(op.o),
           op.lse.as<float>(), device_pointer<T>(op.sinks), heads, op.o.dim(0), vectors);
  });
}

template <>
void cuda_kernel(const SinkBackward& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = op.scratch(ctx);
  if (pieces.numel() > 0) {
    for_vectors(op.o.dtype(), wide({op.d_o, op.o}), [&]<class T, int n>() {
      const auto vectors = static_cast<int>(op.o.dim(3) / n);
      launch(sink_backward<DeviceType<T>, n>, dim3(static_cast<unsigned>(pieces.numel())),
             cover_rows(1, vectors).block, 0, stream, pieces.as<float>(), heads_of<T>(op.d_o),
             heads_of<T>(op.o), op.lse.as<float>(), device_pointer<T>(op.sinks),
             heads_in(op.o.shape()), op.o.dim(0), vectors);
    });
  }
  sum_pieces(op.dsinks.view({op.sinks.numel()}), pieces, op.accumulate, stream);
}

}  // namespace hg
