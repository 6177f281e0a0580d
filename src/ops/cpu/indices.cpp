#include "ops/cpu/indices.h"

#include <algorithm>
#include <limits>
#include <span>

namespace hg {

void check_indices(std::string_view op, std::string_view name, const ConstTensor& indices,
                   std::int64_t limit, std::int64_t lowest) {
  const std::span<const std::int32_t> values(indices.as<std::int32_t>(),
                                             static_cast<std::size_t>(indices.numel()));
  // Without an early exit, so that it vectorises; the search below runs only to name the culprit.
  using Limits = std::numeric_limits<std::int32_t>;
  std::int32_t low = Limits::max(), high = Limits::min();
  for (const std::int32_t value : values) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low >= lowest && high < limit) return;
  const auto bad = std::ranges::find_if(values, [&](auto v) { return v < lowest || v >= limit; });
  fail("{}: {}[{}] is {}, expected a value in [{}, {})", op, name, bad - values.begin(), *bad,
       lowest, limit);
}

}  // namespace hg
