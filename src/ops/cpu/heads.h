// Tensors of heads, [T, KV, G, D] in any strides, and a walk over them. Only for files in
// ops/cpu/kernels.
#pragma once

#include "core/parallel.h"
#include "core/tensor.h"

namespace hg {
namespace {

/// Where head (t, j, g) of a [T, KV, G, ...] tensor begins.
template <class T>
class Heads {
 public:
  template <class Void>
  explicit Heads(const BasicTensor<Void>& tensor)
      : data_(tensor.template as<std::remove_const_t<T>>()),
        token_(tensor.stride(0)),
        group_(tensor.stride(1)),
        head_(tensor.stride(2)) {}

  T* at(std::int64_t t, std::int64_t j, std::int64_t g) const {
    return data_ + t * token_ + j * group_ + g * head_;
  }

 private:
  T* data_;
  std::int64_t token_, group_, head_;
};

/// Whether the heads of a group lie end to end.
inline bool heads_touch(const ConstTensor& tensor) { return tensor.stride(2) == tensor.dim(3); }

/// Heads that touch, seen as one long head for each group: [T, KV, 1, G D]. Loops over it are
/// longer.
template <class Void>
BasicTensor<Void> join_heads(const BasicTensor<Void>& tensor) {
  const std::int64_t length = tensor.dim(2) * tensor.dim(3);
  return {tensor.data(),
          tensor.dtype(),
          {tensor.dim(0), tensor.dim(1), 1, length},
          {tensor.stride(0), tensor.stride(1), length, 1}};
}

/// Calls fn(t, j, g) for the heads of tokens [begin, end), in order.
template <class Fn>
void for_heads(const Shape& shape, std::int64_t begin, std::int64_t end, Fn&& fn) {
  for (std::int64_t t = begin; t < end; ++t) {
    for (std::int64_t j = 0; j < shape[1]; ++j) {
      for (std::int64_t g = 0; g < shape[2]; ++g) fn(t, j, g);
    }
  }
}

/// Calls fn(t, j, g) for every head, tokens in parallel.
template <class Fn>
void parallel_heads(const Shape& shape, Fn&& fn) {
  constexpr std::int64_t kTokens = 16;  // that a task takes
  parallel_ranges(shape[0], kTokens,
                  [&](std::int64_t begin, std::int64_t end) { for_heads(shape, begin, end, fn); });
}

}  // namespace
}  // namespace hg
