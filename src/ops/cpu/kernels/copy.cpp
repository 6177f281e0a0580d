// CPU bodies of ops/cpu/copy.h.
#include "ops/cpu/copy.h"

#include "ops/cpu/dtypes.h"
#include "ops/cpu/reduce.h"
#include "ops/cpu/simd.h"

namespace hg {

template <>
void cpu_kernel<kIsa>(const CopyMatrix& op, Context&) {
  const std::int64_t rows = op.from.dim(0), columns = op.from.dim(1);
  for_float_type(op.to.dtype(), [&]<class To>() {
    for_float_type(op.from.dtype(), [&]<class From>() {
      for (std::int64_t r = 0; r < rows; ++r) {
        To* to = op.to.as<To>() + r * op.to.stride(0);
        const From* from = op.from.as<From>() + r * op.from.stride(0);
        for_lanes(columns,
                  [&](std::int64_t i, auto lanes) { store(to + i, load(from + i, lanes), lanes); });
      }
    });
  });
}

template <>
void cpu_kernel<kIsa>(const SumMatrices& op, Context&) {
  const std::int64_t n = op.sum.numel();
  sum_pieces(op.sum.view({n}), op.terms.view({op.terms.dim(0), n}), op.accumulate);
}

}  // namespace hg
