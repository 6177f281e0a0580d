// Measures a layer of experts against a dense layer of as many parameters for each token.
#pragma once

#include "train/bench/bench_ops.h"

namespace hg {

/// Forward and backward of both layers, on the same random tokens: the best of `rounds` each, in
/// turns. Experts are chosen by a router of random weights.
OpTiming bench_moe(const BenchExperts& size, const CpuInfo& cpu, DType dtype, int rounds);

}  // namespace hg
