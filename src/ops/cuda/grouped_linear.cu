// CUDA bodies of ops/grouped_linear.h. As many blocks as the device holds walk over the tiles of
// all experts; which rows are whose, they read on the device, and the host never learns it. A
// tile's sums depend on its own expert alone.
#include "ops/grouped_linear.h"

#include <algorithm>

#include "ops/cuda/kernel.h"
#include "ops/cuda/mma_tiles.h"
#include "ops/cuda/prefix.h"

namespace hg {
namespace {

HG_DEVICE int tiles_of(int extent, int tile) { return (extent + tile - 1) / tile; }

/// firsts[e] = the first tile of expert e, of those of all experts. Returns their number.
template <class Sums>
HG_DEVICE int count_tiles(int* firsts, const int* offsets, int experts, int column_tiles) {
  HG_SHARED(int, partial, [kTileThreads / 32]);
  int tiles = 0;
  for (int first = 0; first < experts; first += kTileThreads) {
    const int e = first + static_cast<int>(threadIdx.x);
    const int rows = e < experts ? offsets[e + 1] - offsets[e] : 0;
    const Prefix prefix = prefix_sum(tiles_of(rows, Sums::kM) * column_tiles, partial);
    if (e < experts) firsts[e] = tiles + prefix.before;
    tiles += prefix.total;
    __syncthreads();
  }
  return tiles;
}

/// out = in weight^T, or in weight, for the rows of each expert: forward, and backward of the
/// input.
template <class T>
struct RowProducts {
  T* out;           // [R, columns]
  const T* in;      // [R, terms]
  const T* weight;  // [E, columns, terms], or [E, terms, columns]
  const int* offsets;
  int out_stride, in_stride;
  int experts, columns, terms;
};

template <class Sums, bool transposed, bool wide>
__global__ void __launch_bounds__(kTileThreads, wide ? Sums::kBlocks : 1)
    grouped_rows(RowProducts<typename Sums::Element> p) {
  using T = typename Sums::Element;
  HG_DYN_SHARED(memory);
  int* firsts = reinterpret_cast<int*>(memory + kTileBytes<Sums>);  // [experts]
  const int column_tiles = tiles_of(p.columns, Sums::kN);
  const int tiles = count_tiles<Sums>(firsts, p.offsets, p.experts, column_tiles);
  for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
    const int expert = group_of(tile, p.experts, [&](int e) { return firsts[e]; });
    const int begin = p.offsets[expert], end = p.offsets[expert + 1];
    // Tiles of the same columns follow each other: they share the weight.
    const int row_tiles = tiles_of(end - begin, Sums::kM), place = tile - firsts[expert];
    const int top = begin + place % row_tiles * Sums::kM, left = place / row_tiles * Sums::kN;
    const T* weight = p.weight + static_cast<std::int64_t>(expert) * p.columns * p.terms;
    const int weight_stride = transposed ? p.terms : p.columns;
    Sums sums;
    multiply_tile<false, transposed, wide>(
        sums, {p.in + std::int64_t{top} * p.in_stride, p.in_stride, end - top},
        {weight + std::int64_t{left} * (transposed ? weight_stride : 1), weight_stride,
         p.columns - left},
        p.terms, memory);
    store_tile<wide>(sums,
                     TileOutput<T>{p.out + std::int64_t{top} * p.out_stride + left, p.out_stride,
                                   end - top, p.columns - left},
                     false);
    __syncthreads();
  }
}

/// dweight (+)= dy^T x over the rows of each expert.
template <class T>
struct WeightGradients {
  float* dweight;   // [E, N, K]
  const T *dy, *x;  // [R, N], [R, K]
  const int* offsets;
  int dy_stride, x_stride;
  int experts, n, k;
  bool accumulate;
};

template <class Sums, bool wide>
__global__ void __launch_bounds__(kTileThreads, wide ? Sums::kBlocks : 1)
    grouped_gradients(WeightGradients<typename Sums::Element> p) {
  HG_DYN_SHARED(memory);
  const int row_tiles = tiles_of(p.n, Sums::kM);
  const int tiles_of_expert = row_tiles * tiles_of(p.k, Sums::kN);
  const int tiles = tiles_of_expert * p.experts;
  for (int tile = static_cast<int>(blockIdx.x); tile < tiles; tile += static_cast<int>(gridDim.x)) {
    const int expert = tile / tiles_of_expert, place = tile % tiles_of_expert;
    const int begin = p.offsets[expert], rows = p.offsets[expert + 1] - begin;
    if (rows == 0 && p.accumulate) continue;
    const int top = place % row_tiles * Sums::kM, left = place / row_tiles * Sums::kN;
    Sums sums;
    multiply_tile<true, false, wide>(
        sums, {p.dy + std::int64_t{begin} * p.dy_stride + top, p.dy_stride, p.n - top},
        {p.x + std::int64_t{begin} * p.x_stride + left, p.x_stride, p.k - left}, rows, memory);
    float* to = p.dweight + (static_cast<std::int64_t>(expert) * p.n + top) * p.k + left;
    store_tile<wide>(sums, TileOutput<float>{to, p.k, p.n - top, p.k - left}, p.accumulate);
    __syncthreads();
  }
}

/// Blocks for up to `tiles` tiles: those that the device holds at a time.
template <class Sums>
dim3 blocks_for(std::int64_t tiles) {
  int device = 0, multiprocessors = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device);
  return {static_cast<unsigned>(
      std::clamp<std::int64_t>(tiles, 1, std::int64_t{multiprocessors} * Sums::kBlocks))};
}

/// Whether a matrix's rows are whole chunks of 16 bytes and begin at multiples of them.
bool wide_rows(const ConstTensor& matrix) {
  const std::int64_t chunk = 16 / size_of(matrix.dtype());
  const int columns = matrix.rank() - 1;
  return aligned(matrix.data()) && matrix.dim(columns) % chunk == 0 &&
         matrix.stride(columns - 1) % chunk == 0;
}

/// Calls fn.operator()<Sums, wide>() for operands of this type.
template <class Fn>
void for_sums(DType dtype, bool wide, Fn&& fn) {
  if (dtype == DType::f32) {
    wide ? fn.template operator()<PlainSums, true>() : fn.template operator()<PlainSums, false>();
  } else {
    wide ? fn.template operator()<TensorCoreSums, true>()
         : fn.template operator()<TensorCoreSums, false>();
  }
}

template <bool transposed>
void run_rows(const Tensor& out, const ConstTensor& in, const ConstTensor& weight,
              const ConstTensor& offsets, cudaStream_t stream) {
  const bool wide = wide_rows(out) && wide_rows(in) && wide_rows(weight);
  for_sums(in.dtype(), wide, [&]<class Sums, bool its_wide>() {
    using T = typename Sums::Element;
    const std::int64_t experts = weight.dim(0), columns = out.dim(1);
    const std::int64_t row_tiles = in.dim(0) / Sums::kM + experts;  // at most
    launch(grouped_rows<Sums, transposed, its_wide>,
           blocks_for<Sums>(row_tiles * ((columns + Sums::kN - 1) / Sums::kN)), dim3(kTileThreads),
           kTileBytes<Sums> + static_cast<std::size_t>(experts) * sizeof(int), stream,
           RowProducts<T>{static_cast<T*>(out.data()), static_cast<const T*>(in.data()),
                          static_cast<const T*>(weight.data()), offsets.as<std::int32_t>(),
                          static_cast<int>(out.stride(0)), static_cast<int>(in.stride(0)),
                          static_cast<int>(experts), static_cast<int>(columns),
                          static_cast<int>(in.dim(1))});
  });
}

}  // namespace

template <>
void cuda_kernel(const GroupedLinearForward& op, Context&, cudaStream_t stream) {
  run_rows<true>(op.y, op.x, op.weight, op.offsets, stream);
}

template <>
void cuda_kernel(const GroupedLinearBackwardInput& op, Context&, cudaStream_t stream) {
  run_rows<false>(op.dx, op.dy, op.weight, op.offsets, stream);
}

template <>
void cuda_kernel(const GroupedLinearBackwardWeight& op, Context&, cudaStream_t stream) {
  const bool wide = wide_rows(op.dweight) && wide_rows(op.dy) && wide_rows(op.x);
  for_sums(op.x.dtype(), wide, [&]<class Sums, bool its_wide>() {
    using T = typename Sums::Element;
    const std::int64_t experts = op.dweight.dim(0), n = op.dweight.dim(1), k = op.dweight.dim(2);
    const std::int64_t tiles =
        experts * ((n + Sums::kM - 1) / Sums::kM) * ((k + Sums::kN - 1) / Sums::kN);
    launch(grouped_gradients<Sums, its_wide>, blocks_for<Sums>(tiles), dim3(kTileThreads),
           kTileBytes<Sums>, stream,
           WeightGradients<T>{op.dweight.as<float>(), static_cast<const T*>(op.dy.data()),
                              static_cast<const T*>(op.x.data()), op.offsets.as<std::int32_t>(),
                              static_cast<int>(op.dy.stride(0)), static_cast<int>(op.x.stride(0)),
                              static_cast<int>(experts), static_cast<int>(n), static_cast<int>(k),
                              op.accumulate});
  });
}

}  // namespace hg
