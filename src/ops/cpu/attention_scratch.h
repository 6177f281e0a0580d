// How much scratch one attention task takes: shared by the op, which allocates it, and the kernels,
// which cut it into blocks.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/check.h"
#include "core/tensor.h"

namespace hg {

/// Queries and keys of a block, at most, over all kernels.
inline constexpr std::int64_t kMaxAttentionBlock = 128;

/// Rows that a kernel may read, but not use, behind the last key.
inline constexpr std::int64_t kAttentionReadOver = 31;

/// The head size in scratch: rows are whole vectors and tiles, zero from D on.
inline std::int64_t padded_head(std::int64_t d) { return (d + 31) / 32 * 32; }

/// f32 elements that one task needs, for the largest block: `rows` matrices [block, D], `squares`
/// [block, block], `vectors` [block].
inline std::int64_t attention_scratch(std::int64_t d, std::int64_t rows, std::int64_t squares,
                                      std::int64_t vectors) {
  return kMaxAttentionBlock * (rows * padded_head(d) + squares * kMaxAttentionBlock + vectors);
}

/// Cuts a worker's piece of scratch into arrays, 64-byte aligned, from the front.
class ScratchCutter {
 public:
  /// `pieces` is [workers, elements] f32.
  ScratchCutter(const Tensor& pieces, int worker)
      : next_(pieces.as<float>() + worker * pieces.dim(1)), end_(next_ + pieces.dim(1)) {}

  /// `count` elements of type T, undefined.
  template <class T>
  T* take(std::int64_t count) {
    const auto bytes = count * static_cast<std::int64_t>(sizeof(T));
    float* const begin = next_;
    next_ += (bytes + 63) / 64 * 16;
    HG_CHECK(next_ <= end_, "attention needs {} more f32 of scratch for one task", next_ - end_);
    return reinterpret_cast<T*>(begin);
  }

 private:
  float *next_, *end_;
};

}  // namespace hg
