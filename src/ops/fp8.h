// Matrix products in FP8 with scales: what quantises operands, and the product of two of them. A
// value is an FP8 element times the scale of its block. Current scaling: a block's largest
// magnitude becomes the largest of the format (448 for e4m3, 57344 for e5m2), so that
//   scale = max(largest magnitude, 2^-100) / largest of the format,  q = x * (1 / scale),
// rounded to nearest even and saturated. A NaN or an infinity makes NaN of its whole block.
//
// Blocks of 1 x 128 and 128 x 128 with scales in f32 are DeepSeek-V3's (arXiv 2412.19437, 3.3).
#pragma once

#include "ops/op.h"

namespace hg {

/// Elements of a matrix that share a scale: all; 128 neighbours of a row; 128 x 128.
enum class Fp8Blocks : std::uint8_t { whole, rows, squares };
inline constexpr std::int64_t kFp8Block = 128;
/// What extents of operands are multiples of, as cuBLASLt wants it.
inline constexpr std::int64_t kFp8Multiple = 16;

/// The scale of a block with this largest magnitude, which becomes the largest of the format Q. NaN
/// and infinity stay what they are.
template <class Q>
constexpr float fp8_scale(float largest) {
  constexpr float kSmallest = 0x1p-100F;
  return (largest < kSmallest ? kSmallest : largest) / Q::kLargest;
}

/// How the scales of a matrix lie, f32, where the last axis is summed over: [1]; [C / 128, R],
/// those of a column of blocks side by side; [R / 128, C / 128 rounded up to 4]. Quotients are
/// rounded up. This is the order that cuBLASLt has for each (CUBLASLT_MATMUL_MATRIX_SCALE_...).
Shape fp8_scale_shape(Fp8Blocks blocks, std::int64_t rows, std::int64_t columns);

/// A matrix in FP8, [R, C].
struct Fp8Matrix {
  Tensor values;  // e4m3 or e5m2, contiguous
  Tensor scales;  // fp8_scale_shape
  Fp8Blocks blocks = Fp8Blocks::whole;

  explicit operator bool() const { return static_cast<bool>(values); }
};

/// x in FP8, its transpose, or both at once. Blocks of each run along its own rows. Scales of a
/// matrix that is one block are the same for both.
struct Fp8Quantize {
  static constexpr std::string_view name = "fp8_quantize";
  Fp8Matrix matrix;     // [R, C]; may be absent
  Fp8Matrix transpose;  // [C, R]; may be absent
  ConstTensor x;        // [R, C] bf16, contiguous; extents are multiples of 16

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// The largest magnitudes of pieces of x, [kPieces] f32; absent unless it is one block.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kPieces = 1024;

  /// Either of the two that there is.
  const Fp8Matrix& any() const { return matrix ? matrix : transpose; }
};

/// What an FP8 product needs besides its operands. Parts may be absent.
struct Fp8Scratch {
  Tensor a, b, c;  // the CPU multiplies in f32
  Tensor library;  // [1, kCublasLtWorkspace / 4]
};

/// c = a b^T or c += a b^T, summed in f32. Operands are not both e5m2, and not both in squares.
struct Fp8Product {
  static constexpr std::string_view name = "fp8_product";
  Tensor c;         // [M, N] f32 or bf16, contiguous
  Fp8Matrix a, b;   // [M, K], [N, K]; K and N are multiples of 16
  bool accumulate;  // c, which is f32

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  Fp8Scratch scratch(Context& ctx) const;
};

}  // namespace hg
