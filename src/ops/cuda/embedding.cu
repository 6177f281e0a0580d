// CUDA bodies of ops/embedding.h. A token that the CPU body rejects cannot be told to the host
// without waiting: its row becomes NaN in forward, and it adds nothing in backward.
#include "ops/embedding.h"

#include "ops/cuda/kernel.h"
#include "ops/cuda/rows.h"
#include "ops/cuda/zero.h"

namespace hg {
namespace {

/// A thread for every vector of the result.
template <class T, int n>
__global__ void __launch_bounds__(kCoverThreads)
    look_up(T* __restrict__ y, const std::int32_t* __restrict__ tokens,
            const T* __restrict__ weight, std::int64_t count, int vectors, std::int64_t first,
            std::int64_t rows, std::int64_t vocab) {
  const std::int64_t t = cover_row();
  const int i = cover_column();
  if (t >= count || i >= vectors) return;
  const std::int64_t token = tokens[t], row = token - first, d = vectors * n;
  Elements<T, n> values;
  if (row >= 0 && row < rows && token < vocab) {
    values = load_vector<n>(weight + row * d, i);
  } else {
    const float nothing = token >= 0 && token < vocab ? 0.0F : nanf("");
    for (int j = 0; j < n; ++j) values.set(j, nothing);
  }
  store_vector(y + t * d, i, values);
}

constexpr int kThreads = 256, kTokens = 4 * kThreads;  // of a chunk
constexpr int kAhead = 8;                              // rows of dy that are on their way at a time
constexpr unsigned kMostBlocks = 1024;

/// A token, by the row of dweight that it belongs to and its place: the order in which rows of dy
/// are added.
using Key = unsigned long long;
HG_DEVICE std::int64_t row_of(Key key) { return static_cast<std::int64_t>(key >> 32); }
HG_DEVICE std::int64_t place_of(Key key) { return static_cast<std::int64_t>(key & 0xffffffffU); }

/// The block's tokens among a chunk of them, sorted; returns how many.
HG_DEVICE int find_own(Key* sorted, const std::int32_t* tokens, std::int64_t begin,
                       std::int64_t count, std::int64_t first, std::int64_t rows) {
  HG_SHARED(Key, found, [kTokens]);
  HG_SHARED(int, total, [1]);
  if (threadIdx.x == 0) total[0] = 0;
  __syncthreads();
  for (int k = 0; k < kTokens; k += kThreads) {
    const std::int64_t t = begin + k + threadIdx.x, row = t < count ? tokens[t] - first : -1;
    if (row >= 0 && row < rows && static_cast<unsigned>(row) % gridDim.x == blockIdx.x)
      found[atomicAdd(&total[0], 1)] = static_cast<Key>(row) << 32 | static_cast<Key>(t);
  }
  __syncthreads();
  const int own = total[0];
  for (int i = static_cast<int>(threadIdx.x); i < own; i += kThreads) {
    int before = 0;  // in whatever order they were found
    for (int j = 0; j < own; ++j) before += found[j] < found[i] ? 1 : 0;
    sorted[before] = found[i];
  }
  __syncthreads();
  return own;
}

/// Block b owns the rows b, b + gridDim.x, ... of dweight: neighbours, which are about as frequent,
/// have different owners. Every block reads all tokens, which costs 4 T bytes for each of at most
/// kMostBlocks blocks, from the second-level cache; the rows of dweight that have tokens are read
/// and written once for each chunk that has them; dy is read once.
template <class T, int n>
__global__ void __launch_bounds__(kThreads)
    add_rows(float* __restrict__ dweight, const T* __restrict__ dy,
             const std::int32_t* __restrict__ tokens, std::int64_t count, int vectors,
             std::int64_t first, std::int64_t rows) {
  HG_SHARED(Key, sorted, [kTokens]);
  const std::int64_t d = static_cast<std::int64_t>(vectors) * n;
  for (std::int64_t begin = 0; begin < count; begin += kTokens) {
    const int own = find_own(sorted, tokens, begin, count, first, rows);
    for (int i = static_cast<int>(threadIdx.x); i < vectors; i += kThreads) {
      Elements<float, n> sum;
      for (int k = 0; k < own; k += kAhead) {
        Elements<T, n> more[kAhead];
        for (int a = 0; a < kAhead; ++a)
          if (k + a < own) more[a] = load_vector<n>(dy + place_of(sorted[k + a]) * d, i);
        for (int a = 0; a < kAhead; ++a) {
          if (k + a >= own) break;
          const std::int64_t row = row_of(sorted[k + a]);
          if (k + a == 0 || row != row_of(sorted[k + a - 1]))
            sum = load_vector<n>(dweight + row * d, i);
          for (int j = 0; j < n; ++j) sum.set(j, sum[j] + more[a][j]);
          if (k + a + 1 == own || row != row_of(sorted[k + a + 1]))
            store_vector(dweight + row * d, i, sum);
        }
      }
    }
  }
}

}  // namespace

template <>
void cuda_kernel(const EmbeddingForward& op, Context&, cudaStream_t stream) {
  if (op.y.numel() == 0) return;
  for_vectors(op.y.dtype(), wide({op.y, op.weight}), [&]<class T, int n>() {
    const auto vectors = static_cast<int>(op.y.dim(1) / n);
    const Cover cover = cover_all(op.y.dim(0), vectors);
    launch(look_up<DeviceType<T>, n>, cover.grid, cover.block, 0, stream, device_pointer<T>(op.y),
           op.tokens.as<std::int32_t>(), device_pointer<T>(op.weight), op.y.dim(0), vectors,
           op.first, op.weight.dim(0), op.vocab);
  });
}

template <>
void cuda_kernel(const EmbeddingBackward& op, Context&, cudaStream_t stream) {
  if (!op.accumulate) zero(op.dweight, stream);
  if (op.dy.numel() == 0 || op.dweight.numel() == 0) return;
  const auto blocks =
      static_cast<unsigned>(std::min({op.dweight.dim(0), op.dy.dim(0), std::int64_t{kMostBlocks}}));
  for_vectors(op.dy.dtype(), wide({op.dy, op.dweight}), [&]<class T, int n>() {
    launch(add_rows<DeviceType<T>, n>, dim3(blocks), dim3(kThreads), 0, stream,
           op.dweight.as<float>(), device_pointer<T>(op.dy), op.tokens.as<std::int32_t>(),
           op.dy.dim(0), static_cast<int>(op.dy.dim(1) / n), op.first, op.dweight.dim(0));
  });
}

}  // namespace hg
