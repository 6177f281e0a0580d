#include "ops/cpu/copy.h"

#include "ops/cpu/isa.h"

namespace hg {

void copy_matrix(Context& ctx, const CopyMatrix& copy) { dispatch_cpu(copy, ctx); }

void sum_matrices(Context& ctx, const SumMatrices& sum) { dispatch_cpu(sum, ctx); }

}  // namespace hg
