// The fixed-order end of a reduction over pieces of rows. Only for .cu files.
#pragma once

#include "core/tensor.h"
#include "cuda/device.h"

namespace hg {
namespace {

constexpr int kPieceColumns = 32, kPieceParts = 8;  // of a block

/// out [d] = (out +) the sum over pieces [count, d]: kPieceParts sums by turns, then those in
/// order.
__global__ void __launch_bounds__(kPieceColumns* kPieceParts)
    sum_pieces(float* __restrict__ out, const float* __restrict__ pieces, std::int64_t count,
               std::int64_t d, bool accumulate) {
  HG_SHARED(float, parts, [kPieceParts][kPieceColumns]);
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kPieceColumns + threadIdx.x;
  float sum = 0;
  for (std::int64_t p = threadIdx.y; i < d && p < count; p += kPieceParts) sum += pieces[p * d + i];
  parts[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || i >= d) return;
  for (int part = 1; part < kPieceParts; ++part) sum += parts[part][threadIdx.x];
  out[i] = accumulate ? out[i] + sum : sum;
}

/// out (+)= the sum over pieces. [D] f32, [P, D] f32.
inline void sum_pieces(const Tensor& out, const ConstTensor& pieces, bool accumulate,
                       cudaStream_t stream) {
  const std::int64_t d = pieces.dim(1);
  if (d == 0) return;
  void (*const kernel)(float*, const float*, std::int64_t, std::int64_t, bool) = sum_pieces;
  launch(kernel, dim3(static_cast<unsigned>((d + kPieceColumns - 1) / kPieceColumns)),
         dim3(kPieceColumns, kPieceParts), 0, stream, out.as<float>(), pieces.as<float>(),
         pieces.dim(0), d, accumulate);
}

}  // namespace
}  // namespace hg
