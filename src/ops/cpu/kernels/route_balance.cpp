// CPU bodies of what keeps the loads of experts even, on this thread: there are a few numbers for
// each expert.
#include <cstdint>
#include <numeric>
#include <span>

#include "ops/cpu/isa.h"
#include "ops/route.h"

namespace hg {

template <>
void cpu_kernel<kIsa>(const RouterLoads& op, Context&) {
  const std::int64_t experts = op.loads.dim(0);
  auto* loads = op.loads.as<std::int32_t>();
  const auto* counts = op.counts.as<std::int32_t>();
  for (std::int64_t s = 0; s < op.counts.dim(0); ++s) {
    for (std::int64_t e = 0; e < experts; ++e) loads[e] += counts[s * experts + e];
  }
}

template <>
void cpu_kernel<kIsa>(const RouterBalance& op, Context&) {
  const std::int64_t experts = op.counts.dim(1);
  for (std::int64_t s = 0; s < op.counts.dim(0); ++s) {
    const std::span counts(op.counts.as<std::int32_t>() + s * experts,
                           static_cast<std::size_t>(experts));
    float* balance = op.balance.as<float>() + s * experts;
    const auto total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
    const double scale = total > 0 ? double{op.coefficient} * static_cast<double>(experts) /
                                         static_cast<double>(total)
                                   : 0.0;
    for (const std::int32_t count : counts) *balance++ = static_cast<float>(scale * count);
  }
}

template <>
void cpu_kernel<kIsa>(const RouterBiasUpdate& op, Context&) {
  const std::int64_t experts = op.bias.dim(0);
  const std::span bias(op.bias.as<float>(), static_cast<std::size_t>(experts));
  const auto* loads = op.loads.as<std::int32_t>();
  std::int64_t total = 0;
  for (std::int64_t e = 0; e < experts; ++e) total += loads[e];
  double sum = 0;
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::int64_t missing = total - loads[e] * experts;  // integers: an even load stays put
    float& b = bias[static_cast<std::size_t>(e)];
    b += op.rate * static_cast<float>((missing > 0) - (missing < 0));
    sum += double{b};
  }
  const auto mean = static_cast<float>(sum / static_cast<double>(experts));
  for (float& b : bias) b -= mean;
}

}  // namespace hg
