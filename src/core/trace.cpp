#include "core/trace.h"

namespace hg {

void Trace::add(std::string_view name, const Cost& cost, double seconds) {
  Entry& entry = entries_[name];
  ++entry.calls;
  entry.cost.flops += cost.flops;
  entry.cost.bytes += cost.bytes;
  entry.seconds += seconds;
}

Trace::Entry Trace::total() const {
  Entry sum;
  for (const auto& [name, entry] : entries_) {
    sum.calls += entry.calls;
    sum.cost.flops += entry.cost.flops;
    sum.cost.bytes += entry.cost.bytes;
    sum.seconds += entry.seconds;
  }
  return sum;
}

}  // namespace hg
