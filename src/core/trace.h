// Counts and times ops by name: for `headgate bench`, `headgate plan` and utilisation in the log.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace hg {

/// Work of one op: floating-point operations, and bytes that must cross memory at least once.
struct Cost {
  double flops = 0;
  double bytes = 0;
};

class Trace {
 public:
  struct Entry {
    std::int64_t calls = 0;
    Cost cost;
    double seconds = 0;
  };

  /// Adds one call. The name must outlive the trace (ops' names are literals).
  void add(std::string_view name, const Cost& cost, double seconds);
  const std::map<std::string_view, Entry>& entries() const { return entries_; }
  Entry total() const;
  void clear() { entries_.clear(); }

 private:
  std::map<std::string_view, Entry> entries_;
};

/// Times its own life and adds it to a trace, if there is one.
class TraceSpan {
 public:
  using Clock = std::chrono::steady_clock;

  TraceSpan(Trace* trace, std::string_view name, Cost cost)
      : trace_(trace),
        name_(name),
        cost_(cost),
        start_(trace ? Clock::now() : Clock::time_point{}) {}
  ~TraceSpan() {
    if (trace_ == nullptr) return;
    trace_->add(name_, cost_, std::chrono::duration<double>(Clock::now() - start_).count());
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  Trace* trace_;
  std::string_view name_;
  Cost cost_;
  Clock::time_point start_;
};

}  // namespace hg
