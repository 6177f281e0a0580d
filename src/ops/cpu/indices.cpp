#include "ops/cpu/indices.h"

#include <algorithm>
#include <span>

namespace hg {

void check_indices(std::string_view op, std::string_view name, const ConstTensor& indices,
                   std::int64_t limit) {
  const std::span<const std::int32_t> values(indices.as<std::int32_t>(),
                                             static_cast<std::size_t>(indices.numel()));
  // Without an early exit, so that it vectorises; the search below runs only to name the culprit.
  std::int32_t low = 0, high = -1;
  for (const std::int32_t value : values) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low >= 0 && high < limit) return;
  const auto bad = std::ranges::find_if(values, [&](auto v) { return v < 0 || v >= limit; });
  fail("{}: {}[{}] is {}, expected a value in [0, {})", op, name, bad - values.begin(), *bad,
       limit);
}

}  // namespace hg
