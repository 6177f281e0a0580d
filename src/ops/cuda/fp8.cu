// CUDA bodies of ops/fp8.h: own kernels quantise, cuBLASLt multiplies. A block of threads takes a
// tile of 128 x 128 elements, which it reads once and keeps in registers; a matrix of one scale is
// read once more before, for its largest magnitude.
#include "ops/fp8.h"

#include "ops/cuda/fp8_tile.h"
#include "ops/cuda/kernel.h"
#include "ops/cuda/lt_matmul.h"
#include "ops/cuda/rows.h"

namespace hg {
namespace {

/// pieces[i] = the largest magnitude of piece i of x.
__global__ void __launch_bounds__(kThreads)
    magnitudes(float* pieces, const __nv_bfloat16* x, std::int64_t vectors, std::int64_t piece) {
  HG_SHARED(std::uint32_t, partial, [kWarps]);
  const std::int64_t begin = blockIdx.x * piece;
  const std::int64_t end = begin + piece < vectors ? begin + piece : vectors;
  std::uint32_t result = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const auto vector = load_vector<kVector>(x, i);
    for (int j = 0; j < kVector; ++j) result = larger(result, magnitude(vector[j]));
  }
  result = block_largest(result, partial);
  if (threadIdx.x == 0) pieces[blockIdx.x] = __uint_as_float(result);
}

/// One tile of `matrix` and of `transpose`, of x [rows, columns]; `pieces` are given if all has one
/// scale.
template <class Q, Fp8Blocks blocks>
__global__ void __launch_bounds__(kThreads)
    quantize_tiles(Result matrix, Result transpose, const __nv_bfloat16* x, int rows, int columns,
                   const float* pieces, int count) {
  HG_SHARED(std::uint32_t, partial, [kWarps * kTile]);
  HG_SHARED(float, column_scales, [kTile]);
  HG_SHARED(std::uint32_t, transposed, [kTile * kPitch]);
  const Place place;
  const int first_row = static_cast<int>(blockIdx.y) * kTile;
  const int first_column = static_cast<int>(blockIdx.x) * kTile;
  const int left_rows = rows - first_row, left_columns = columns - first_column;
  const bool inside = place.column < left_columns;
  Part part;
  for (int line = 0; line < kLines; ++line) {
    const std::int64_t row = place.row(line);
    part.lines[line] = {};
    if (inside && row < left_rows) {
      part.lines[line] =
          load_vector<kVector>(x + (first_row + row) * columns + first_column + place.column, 0);
    }
  }

  float scale = 1;
  if constexpr (blocks == Fp8Blocks::whole) {
    std::uint32_t its = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads)
      its = larger(its, __float_as_uint(pieces[i]));
    scale = scale_of<Q>(block_largest(its, partial));
    if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) {
      if (matrix.values != nullptr) *matrix.scales = scale;
      if (transpose.values != nullptr) *transpose.scales = scale;
    }
  }
  if constexpr (blocks == Fp8Blocks::squares) {
    std::uint32_t its = 0;
    for (int line = 0; line < kLines; ++line)
      for (int j = 0; j < kVector; ++j) its = larger(its, magnitude(part.at(line, j)));
    scale = scale_of<Q>(block_largest(its, partial));
    put_square_scale(matrix, scale, blockIdx.y, blockIdx.x, gridDim.x - 1);
    put_square_scale(transpose, scale, blockIdx.x, blockIdx.y, gridDim.y - 1);
  }

  if (matrix.values != nullptr) {
    float* const scales =
        matrix.scales + blockIdx.x * static_cast<std::int64_t>(rows) + first_row;  // of rows
    store_lines<Q, blocks>(
        part, place, matrix.values + static_cast<std::int64_t>(first_row) * columns + first_column,
        columns, left_rows, left_columns, scale, scales);
  }
  if (transpose.values == nullptr) return;
  if constexpr (blocks == Fp8Blocks::rows) {
    scale_columns<Q>(
        part, place, partial, column_scales,
        transpose.scales + blockIdx.y * static_cast<std::int64_t>(columns) + first_column,
        left_columns);
  }
  for (int j = 0; j < kVector; ++j) {
    const float of_column = blocks == Fp8Blocks::rows ? column_scales[place.column + j] : scale;
    const float inverse = 1 / of_column;
    for (int group = 0; group < kGroups; ++group) {
      const auto y = [&](int i) { return part.at(4 * group + i, j) * inverse; };
      transposed[(j * 16 + place.column / kVector) * kPitch + place.word(group)] =
          rounded<Q>(y(0), y(1), y(2), y(3));
    }
  }
  __syncthreads();
  store_transposed(transpose.values + static_cast<std::int64_t>(first_column) * rows + first_row,
                   rows, transposed, left_rows, left_columns);
}

Result result_of(const Fp8Matrix& matrix) {
  if (!matrix) return {};
  HG_CHECK(aligned(matrix.values.data()), "{}: FP8 values are at {}, expected a multiple of 16",
           Fp8Quantize::name, matrix.values.data());
  return {.values = static_cast<std::uint8_t*>(matrix.values.data()),
          .scales = matrix.scales.as<float>(),
          .scale_stride = matrix.scales.rank() == 2 ? static_cast<int>(matrix.scales.dim(1)) : 1};
}

template <class Q, Fp8Blocks blocks>
void quantize(const Fp8Quantize& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const auto* x = device_pointer<bf16>(op.x);
  HG_CHECK(aligned(x), "{}: x is at {}, expected a multiple of 16", Fp8Quantize::name, op.x.data());
  float* pieces = nullptr;
  unsigned count = 0;
  if (const Tensor room = op.scratch(ctx)) {
    constexpr std::int64_t kLeast = kThreads * 4;
    const std::int64_t vectors = op.x.numel() / kVector;
    const std::int64_t piece =
        std::max(kLeast, (vectors + Fp8Quantize::kPieces - 1) / Fp8Quantize::kPieces);
    pieces = room.as<float>();
    count = blocks_of(vectors, piece);
    launch(magnitudes, dim3(count), dim3(kThreads), 0, stream, pieces, x, vectors, piece);
  }
  launch(quantize_tiles<Q, blocks>,
         dim3(blocks_of(op.x.dim(1), kTile), blocks_of(op.x.dim(0), kTile)), dim3(kThreads), 0,
         stream, result_of(op.matrix), result_of(op.transpose), x, static_cast<int>(op.x.dim(0)),
         static_cast<int>(op.x.dim(1)), pieces, static_cast<int>(count));
}

template <class Q>
void quantize(const Fp8Quantize& op, Context& ctx, cudaStream_t stream) {
  switch (op.any().blocks) {
    case Fp8Blocks::whole:
      return quantize<Q, Fp8Blocks::whole>(op, ctx, stream);
    case Fp8Blocks::rows:
      return quantize<Q, Fp8Blocks::rows>(op, ctx, stream);
    case Fp8Blocks::squares:
      return quantize<Q, Fp8Blocks::squares>(op, ctx, stream);
  }
}

}  // namespace

template <>
void cuda_kernel(const Fp8Quantize& op, Context& ctx, cudaStream_t stream) {
  op.any().values.dtype() == DType::e4m3 ? quantize<e4m3>(op, ctx, stream)
                                         : quantize<e5m2>(op, ctx, stream);
}

template <>
void cuda_kernel(const Fp8Product& op, Context& ctx, cudaStream_t stream) {
  const ArenaScope scope(ctx.scratch);
  const Tensor &a = op.a.values, &b = op.b.values;
  cublas_lt(ctx).run({.m = op.c.dim(0),
                      .n = op.c.dim(1),
                      .k = a.dim(1),
                      .a_stride = a.stride(0),
                      .b_stride = b.stride(0),
                      .c_stride = op.c.stride(0),
                      .a_type = a.dtype(),
                      .b_type = b.dtype(),
                      .c_type = op.c.dtype(),
                      .a_transposed = false,
                      .b_transposed = true,
                      .accumulate = op.accumulate,
                      .a_blocks = op.a.blocks,
                      .b_blocks = op.b.blocks},
                     {.a = a.data(),
                      .b = b.data(),
                      .c = op.c.data(),
                      .a_scales = op.a.scales.as<float>(),
                      .b_scales = op.b.scales.as<float>()},
                     op.scratch(ctx).library.data(), stream);
}

}  // namespace hg
