// Every limit that tests compare floating-point results with, and where it comes from.
#pragma once

#include "core/dtype.h"

namespace hg::test {

/// Central differences in f32 with step h = 1e-2: the truncation error is about h^2, the rounding
/// error 6e-8 |loss| / h; both stay below this, relative to the gradient's norm.
inline constexpr double kFiniteDifference = 2e-3;

/// Relative error in norm of a result that was computed from, and stored as, `dtype`, against the
/// same op in f32: one rounding at each load and at the store, 2^-9 each, and a margin for values
/// that are rounded in between.
constexpr double rounding(DType dtype) { return dtype == DType::bf16 ? 8e-3 : 1e-6; }

/// Products of normal values in FP8 against the same in bf16, relative error in norm. Rounding to
/// 1 + 3 bits errs by up to 2^-4 of a value, 2.6 % in the mean square, and to 1 + 2 bits by twice
/// as much; the errors of two operands add in squares: 3.7 % and 5.8 %.
inline constexpr double kFp8Values = 0.045;
inline constexpr double kFp8Gradients = 0.07;

/// Sums of the same terms in another order, f32, at the lengths that tests use.
inline constexpr double kReordered = 2e-6;

/// Values that an op measures in f32 against the same in f64: single roundings, and sums of up to
/// some hundred terms before f64 takes over.
inline constexpr double kMeasured = 1e-5;

/// Gradients of the whole model against PyTorch, f32, relative error in norm per tensor.
inline constexpr double kPyTorchF32 = 1e-4;

/// A router's weights, losses and gradients against transformers, f32, relative.
inline constexpr double kRouterGolden = 1e-5;

/// The whole two-layer model in bf16 against PyTorch in f32: about twenty roundings of 2^-9 on the
/// longest path, and weights that are rounded themselves.
inline constexpr double kModelBf16 = 0.06;

}  // namespace hg::test
