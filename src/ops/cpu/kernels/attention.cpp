// CPU bodies of ops/attention.h in f32; bf16 is widened while packing.
#include "ops/attention.h"

#include "ops/cpu/dtypes.h"
#include "ops/cpu/kernels/attention_backward.h"
#include "ops/cpu/kernels/attention_forward.h"

namespace hg {

template <>
void cpu_kernel<kIsa>(const AttentionForward& op, Context& ctx) {
  for_float_type(op.q.dtype(), [&]<class T>() { attention_forward<VectorProducts, T>(op, ctx); });
}

template <>
void cpu_kernel<kIsa>(const AttentionBackward& op, Context& ctx) {
  for_float_type(op.q.dtype(), [&]<class T>() { attention_backward<VectorProducts, T>(op, ctx); });
}

}  // namespace hg
