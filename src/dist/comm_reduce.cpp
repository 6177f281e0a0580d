#include "dist/comm_reduce.h"

#include <cmath>
#include <type_traits>

namespace hg {
namespace {

// Elements whose partial results stay in the first-level cache while the inputs stream by.
constexpr std::int64_t kBlock = 1024;

// Integers are added as unsigned ones: those may wrap.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, std::int32_t>, std::uint32_t, float>;

template <class T>
Accumulator<T> add(Accumulator<T> a, Accumulator<T> b) {
  return a + b;
}

template <class T>
Accumulator<T> maximum(Accumulator<T> a, Accumulator<T> b) {
  if constexpr (std::is_same_v<T, std::int32_t>) {
    return static_cast<T>(a) < static_cast<T>(b) ? b : a;
  } else {
    return a < b || std::isnan(b) ? b : a;  // NaN stays, whichever of the two it is
  }
}

template <class T, Accumulator<T> combine(Accumulator<T>, Accumulator<T>)>
void reduce_blocks(std::span<const void* const> inputs, void* out, std::int64_t count) {
  std::array<Accumulator<T>, kBlock> sum;
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const auto n = static_cast<std::size_t>(std::min(kBlock, count - begin));
    const auto* first = static_cast<const T*>(inputs[0]) + begin;
    for (std::size_t i = 0; i < n; ++i) sum[i] = static_cast<Accumulator<T>>(first[i]);
    for (const void* input : inputs.subspan(1)) {
      const auto* x = static_cast<const T*>(input) + begin;
      for (std::size_t i = 0; i < n; ++i)
        sum[i] = combine(sum[i], static_cast<Accumulator<T>>(x[i]));
    }
    auto* y = static_cast<T*>(out) + begin;
    for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<T>(sum[i]);
  }
}

template <class T>
void reduce_elements(Reduce reduce, std::span<const void* const> inputs, void* out,
                     std::int64_t count) {
  if (reduce == Reduce::sum) return reduce_blocks<T, add<T>>(inputs, out, count);
  return reduce_blocks<T, maximum<T>>(inputs, out, count);
}

}  // namespace

void reduce_in_order(Reduce reduce, DType dtype, std::span<const void* const> inputs, void* out,
                     std::int64_t count) {
  switch (dtype) {
    case DType::f32:
      return reduce_elements<float>(reduce, inputs, out, count);
    case DType::bf16:
      return reduce_elements<bf16>(reduce, inputs, out, count);
    case DType::i32:
      return reduce_elements<std::int32_t>(reduce, inputs, out, count);
    case DType::e4m3:
    case DType::e5m2:
      fail("{} is not reduced over ranks", name_of(dtype));
  }
}

std::int64_t row_bytes(const ConstTensor& x) {
  return x.shape().with(0, 1).numel() * size_of(x.dtype());
}

}  // namespace hg
