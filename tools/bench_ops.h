// headgate bench --op: ops by themselves.
#pragma once

#include <cstdint>
#include <string>

#include "core/cpu_info.h"
#include "core/dtype.h"

namespace hg::tools {

/// Measures the ops of a family and prints a line for each, or a JSON object.
void print_op_timings(const std::string& op, const CpuInfo& cpu, DType dtype, std::int64_t rounds,
                      bool json);

}  // namespace hg::tools
