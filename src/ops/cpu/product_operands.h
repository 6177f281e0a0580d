// Operands on their way to and from oneDNN: for the bodies of ops that are matrix products.
#pragma once

#include "core/parallel.h"
#include "ops/cpu/copy.h"
#include "ops/cpu/onednn.h"

namespace hg {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// What oneDNN multiplies in. Only AMX makes bf16 products faster than f32 ones; elsewhere bf16 is
/// widened, which is exact.
inline DType product_dtype(const Context& ctx, const ConstTensor& operand) {
  return ctx.cpu.amx_bf16 ? operand.dtype() : DType::f32;
}

/// Whether oneDNN takes `matrix` as it lies.
inline bool ready(const ConstTensor& matrix, DType dtype) {
  return matrix.dtype() == dtype && matrix.contiguous();
}

/// `matrix` itself if it is ready, else a copy at `buffer`.
inline const void* made_ready(Context& ctx, const ConstTensor& matrix, DType dtype, void* buffer) {
  if (ready(matrix, dtype)) return matrix.data();
  copy_matrix(ctx, {.to = {buffer, dtype, matrix.shape()}, .from = matrix});
  return buffer;
}

/// Buffers of `size` elements, one for each of `count`; none if the condition does not hold.
inline Tensor buffers_if(bool condition, Context& ctx, std::string_view label, DType dtype,
                         std::int64_t count, std::int64_t size) {
  if (!condition) return {};
  return ctx.scratch.allocate(label, dtype, {count, size});
}

inline void* buffer(const Tensor& buffers, std::int64_t i) {
  return buffers ? buffers.rows(i, i + 1).data() : nullptr;
}

/// oneDNN's own scratch, `bytes` for each worker.
inline Tensor library_buffers(Context& ctx, std::int64_t bytes) {
  return buffers_if(bytes > 0, ctx, "oneDNN", DType::f32, num_threads(), ceil_div(bytes, 64) * 16);
}

}  // namespace hg
