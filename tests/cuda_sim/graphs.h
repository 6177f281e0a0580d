// What tests ask about simulated graphs.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace cuda_sim {

/// The first thing that two graphs do differently: another kernel, other arguments, sizes or
/// addresses. Empty if there is none.
std::string difference(cudaGraph_t a, cudaGraph_t b);

}  // namespace cuda_sim
