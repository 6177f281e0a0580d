#include "bench_ops.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "train/bench/bench_ops.h"

namespace hg::tools {

void print_op_timings(const std::string& op, const CpuInfo& cpu, DType dtype, std::int64_t rounds,
                      bool json) {
  const std::vector<OpTiming> timings = bench_op(op, cpu, dtype, static_cast<int>(rounds));
  std::string heading;
  for (const OpTiming& t : timings) {
    if (json) {
      fmt::print("{}\n", nlohmann::ordered_json{{"size", t.size},
                                                {"load", t.load},
                                                {"op", t.op},
                                                {"dtype", name_of(dtype)},
                                                {"threads", num_threads()},
                                                {"ms", t.seconds * 1e3},
                                                {"dense_ms", t.dense_seconds * 1e3},
                                                {"ratio", t.seconds / t.dense_seconds},
                                                {"gflop", t.flops / 1e9}}
                             .dump());
      continue;
    }
    if (t.size != heading) {
      fmt::print("{}, {}\n  {:<12} {:<32} {:>8} {:>9} {:>9} {:>6}\n", t.size, name_of(dtype),
                 "rows", "op", "ms", "GFLOP/s", "dense ms", "ratio");
    }
    heading = t.size;
    fmt::print("  {:<12} {:<32} {:>8.3f} {:>9.1f} {:>9.3f} {:>6.2f}\n", t.load, t.op,
               t.seconds * 1e3, t.flops / t.seconds / 1e9, t.dense_seconds * 1e3,
               t.seconds / t.dense_seconds);
  }
}

}  // namespace hg::tools
