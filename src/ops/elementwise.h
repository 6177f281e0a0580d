// Sums of matrices, and values held inside a range.
#pragma once

#include "ops/op.h"

namespace hg {

/// y += x; with a base, y = base + x.
struct Add {
  static constexpr std::string_view name = "add";
  Tensor y;               // [T, C], any row stride
  ConstTensor x;          // [T, C], any row stride
  ConstTensor base = {};  // [T, C], any row stride; absent: y itself

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y = x held inside [-limit, limit], with the limit as the element type rounds it; NaN stays NaN.
struct ClipForward {
  static constexpr std::string_view name = "clip_forward";
  Tensor y;       // [T, C], any row stride; may be x itself
  ConstTensor x;  // [T, C], any row stride
  float limit;    // positive

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx = dy where |y| < limit, 0 elsewhere. Whether y is clipped already makes no difference.
struct ClipBackward {
  static constexpr std::string_view name = "clip_backward";
  Tensor dx;          // [T, C], any row stride; may be dy itself
  ConstTensor dy, y;  // [T, C], any row stride
  float limit;        // as in forward

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y = 0.
struct Zero {
  static constexpr std::string_view name = "zero";
  Tensor y;  // contiguous, any shape and element type

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
