// CUDA bodies of ops/reduce.h. Sums over tokens go piece by piece in a fixed order; those over
// heads run from the first to the last.
#include "ops/reduce.h"

#include "ops/cuda/activation.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/pieces.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

constexpr std::int64_t kTokens = SumTokens::kTokensPerPiece;
constexpr int kLines = 8;  // tokens at a time

/// 32 vectors of a piece of kTokens tokens a block: kLines sums by turns, then those in order.
template <class T, int n>
__global__ void __launch_bounds__(32 * kLines)
    sum_tokens(float* __restrict__ pieces, Rows<const T> x, std::int64_t tokens, int vectors) {
  HG_SHARED(float, sums, [kLines][32][n]);
  const std::int64_t begin = blockIdx.x * kTokens;
  const std::int64_t end = begin + kTokens < tokens ? begin + kTokens : tokens;
  const int i = static_cast<int>(blockIdx.y * 32 + threadIdx.x);
  float sum[n] = {};
  for (std::int64_t t = begin + threadIdx.y; i < vectors && t < end; t += kLines) {
    const auto more = load_vector<n>(x[t], i);
    for (int j = 0; j < n; ++j) sum[j] += more[j];
  }
  for (int j = 0; j < n; ++j) sums[threadIdx.y][threadIdx.x][j] = sum[j];
  __syncthreads();
  if (threadIdx.y > 0 || i >= vectors) return;
  Elements<float, n> total;
  for (int j = 0; j < n; ++j) {
    for (int line = 1; line < kLines; ++line) sum[j] += sums[line][threadIdx.x][j];
    total.set(j, sum[j]);
  }
  store_vector(pieces + blockIdx.x * static_cast<std::int64_t>(vectors) * n, i, total);
}

/// A thread for every vector of a token.
template <class T, int n>
__global__ void __launch_bounds__(kCoverThreads)
    sum_heads_forward(Rows<T> y, Heads<const T> x, std::int64_t tokens, unsigned groups,
                      unsigned of_group, int vectors, Activation activation, float factor) {
  const std::int64_t t = cover_row();
  const int i = cover_column();
  if (t >= tokens || i >= vectors) return;
  float sum[n] = {};
  for (unsigned j = 0; j < groups; ++j) {
    for (unsigned g = 0; g < of_group; ++g) {
      const auto more = load_vector<n>(x[{static_cast<unsigned>(t), j, g}], i);
      for (int e = 0; e < n; ++e) sum[e] += activate(activation, more[e]);
    }
  }
  Elements<T, n> out;
  for (int e = 0; e < n; ++e) out.set(e, factor * sum[e]);
  store_vector(y[t], i, out);
}

/// A thread for every vector of a head.
template <class T, int n>
__global__ void __launch_bounds__(kCoverThreads)
    sum_heads_backward(Heads<T> dx, Rows<const T> dy, Heads<const T> x, HeadCount heads,
                       int vectors, Activation activation, float factor) {
  const unsigned number = cover_row();
  const int i = cover_column();
  if (number >= heads.all || i >= vectors) return;
  const Head head = heads[number];
  const auto in = load_vector<n>(x[head], i), gradient = load_vector<n>(dy[head.t], i);
  Elements<T, n> out;
  for (int e = 0; e < n; ++e)
    out.set(e, gradient[e] * factor * activate_with_slope(activation, in[e]).slope);
  store_vector(dx[head], i, out);
}

}  // namespace

template <>
void cuda_kernel(const SumTokens& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const Tensor pieces = op.scratch(ctx);
  if (pieces.numel() > 0) {
    for_vectors(op.x.dtype(), wide({op.x}), [&]<class T, int n>() {
      const auto vectors = static_cast<int>(op.x.dim(1) / n);
      launch(sum_tokens<DeviceType<T>, n>,
             dim3(static_cast<unsigned>(pieces.dim(0)), blocks_of(vectors, 32)), dim3(32, kLines),
             0, stream, pieces.as<float>(), rows_of<T>(op.x), op.x.dim(0), vectors);
    });
  }
  sum_pieces(op.dparam, pieces, op.accumulate, stream);
}

template <>
void cuda_kernel(const SumHeadsForward& op, Context&, cudaStream_t stream) {
  if (op.y.numel() == 0) return;
  for_vectors(op.x.dtype(), wide({op.y, op.x}), [&]<class T, int n>() {
    const auto vectors = static_cast<int>(op.x.dim(3) / n);
    const HeadCount heads = heads_in(op.x.shape());
    const Cover cover = cover_all(op.x.dim(0), vectors);
    launch(sum_heads_forward<DeviceType<T>, n>, cover.grid, cover.block, 0, stream,
           rows_of<T>(op.y), heads_of<T>(op.x), op.x.dim(0), heads.groups, heads.of_group, vectors,
           op.activation, op.factor);
  });
}

template <>
void cuda_kernel(const SumHeadsBackward& op, Context&, cudaStream_t stream) {
  if (op.x.numel() == 0) return;
  for_vectors(op.x.dtype(), wide({op.dx, op.dy, op.x}), [&]<class T, int n>() {
    const auto vectors = static_cast<int>(op.x.dim(3) / n);
    const HeadCount heads = heads_in(op.x.shape());
    const Cover cover = cover_all(heads.all, vectors);
    launch(sum_heads_backward<DeviceType<T>, n>, cover.grid, cover.block, 0, stream,
           heads_of<T>(op.dx), rows_of<T>(op.dy), heads_of<T>(op.x), heads, vectors, op.activation,
           op.factor);
  });
}

}  // namespace hg
