// Copies of matrices between element types and row strides: how operands are brought into the form
// that oneDNN's fast kernels take.
#pragma once

#include "core/context.h"

namespace hg {

/// to = from on this thread, widened or rounded where the element types differ. Both [R, C] f32 or
/// bf16, inner stride 1.
struct CopyMatrix {
  Tensor to;
  ConstTensor from;
};
void copy_matrix(Context& ctx, const CopyMatrix& copy);

/// sum (+)= terms[0] + terms[1] + ..., in that order, on all threads. All f32, contiguous.
struct SumMatrices {
  Tensor sum;         // [R, C]
  ConstTensor terms;  // [S, R, C]
  bool accumulate;
};
void sum_matrices(Context& ctx, const SumMatrices& sum);

}  // namespace hg
