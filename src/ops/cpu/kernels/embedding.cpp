// CPU bodies of ops/embedding.h.
#include "ops/embedding.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "ops/cpu/dtypes.h"
#include "ops/cpu/simd.h"

namespace hg {
namespace {

constexpr std::int64_t kGrain = 16;  // tokens a task of the look-up takes

template <class T>
void forward(const EmbeddingForward& op) {
  const std::int64_t d = op.y.dim(1), rows = op.weight.dim(0);
  const std::size_t row_bytes = static_cast<std::size_t>(d) * sizeof(T);
  const auto* tokens = op.tokens.as<std::int32_t>();
  const T* weight = op.weight.as<T>();
  T* y = op.y.as<T>();
  parallel_ranges(op.y.dim(0), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const std::int64_t row = tokens[t] - op.first;
      if (row >= 0 && row < rows) {
        std::memcpy(y + t * d, weight + row * d, row_bytes);
      } else {
        std::memset(y + t * d, 0, row_bytes);
      }
    }
  });
}

/// Each task owns a range of the rows and reads all tokens: a row is written by one thread, in the
/// order of t, and no two tasks touch the same row.
template <class T>
void backward(const EmbeddingBackward& op) {
  const std::int64_t count = op.dy.dim(0), d = op.dy.dim(1), all_rows = op.dweight.dim(0);
  constexpr std::int64_t kTasks = 64;  // more even out the few tokens that are most of a text
  const std::int64_t rows = std::max<std::int64_t>(1, (all_rows + kTasks - 1) / kTasks);
  const auto* tokens = op.tokens.as<std::int32_t>();
  const T* dy = op.dy.as<T>();
  auto* dweight = op.dweight.as<float>();
  parallel_ranges(all_rows, rows, [&](std::int64_t begin, std::int64_t end) {
    if (!op.accumulate) std::fill(dweight + begin * d, dweight + end * d, 0.0F);
    const std::int64_t low = op.first + begin, high = op.first + end;
    for (std::int64_t t = 0; t < count; ++t) {
      if (tokens[t] < low || tokens[t] >= high) continue;
      float* to = dweight + (tokens[t] - op.first) * d;
      const T* from = dy + t * d;
      for_lanes(d, [&](std::int64_t i, auto lanes) {
        store(to + i, load(to + i, lanes) + load(from + i, lanes), lanes);
      });
    }
  });
}

}  // namespace

template <>
void cpu_kernel<kIsa>(const EmbeddingForward& op, Context&) {
  for_float_type(op.y.dtype(), [&]<class T>() { forward<T>(op); });
}

template <>
void cpu_kernel<kIsa>(const EmbeddingBackward& op, Context&) {
  for_float_type(op.dy.dtype(), [&]<class T>() { backward<T>(op); });
}

}  // namespace hg
