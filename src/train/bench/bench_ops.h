// Measures ops and layers by themselves, each against one that does the same work in a simpler
// form: what `headgate bench --op` prints.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/cpu_info.h"
#include "core/dtype.h"

namespace hg {

/// A layer of experts to measure at: tokens times top_k rows.
struct BenchExperts {
  std::string_view name;
  std::int64_t tokens, top_k, experts, hidden, width;
};

/// One op at one size, measured in turns with its yardstick. Times are the least of all rounds: a
/// ratio must not depend on what else the machine does.
struct OpTiming {
  std::string size;      // in words
  std::string load;      // how rows fall to experts
  std::string_view op;   // its name
  double seconds;        // of a call
  double dense_seconds;  // of the yardstick with the same FLOPs
  double flops;          // of either
};

/// Times the ops of a family, or a layer; throws for another name. Every one runs `rounds` times.
///  grouped_linear: its yardstick is the linear layer that has all rows and one weight.
///  moe: a whole layer of experts; its yardstick is the dense layer as wide as a token's experts.
std::vector<OpTiming> bench_op(std::string_view op, const CpuInfo& cpu, DType dtype, int rounds);

}  // namespace hg
