// The linear layers of blocks: attention's projections and those of dense MLPs. Operands are f32 or
// bf16; where the context says so, they are multiplied in FP8. Then values and weights are e4m3,
// gradients e5m2, all quantised where a product needs them and forgotten behind it: what forward
// keeps stays bf16. Every rank scales by what it has itself.
#pragma once

#include "ops/linear.h"

namespace hg {

/// y = x weight^T.
void run_linear(Context& ctx, const LinearForward& op);

/// dx = dy weight, dweight (+)= dy^T x.
struct LinearBackward {
  Tensor dx;              // [T, K]
  Tensor dweight;         // [N, K] f32
  ConstTensor dy;         // [T, N]
  ConstTensor x, weight;  // [T, K], [N, K]
  bool accumulate;        // dweight
};
void run_linear(Context& ctx, const LinearBackward& op);

}  // namespace hg
