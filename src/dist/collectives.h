// Collectives as ops: on the device that run() looks at, timed by the trace like any other, and
// planned for by a meta run. In a group of one they do nothing, or copy.
#pragma once

#include "dist/mesh.h"
#include "ops/op.h"

namespace hg {

/// x = the sum or maximum of every rank's x.
struct AllReduce {
  static constexpr std::string_view name = "all_reduce";
  Tensor x;
  const Group& group;
  Reduce reduce;
  std::string_view label;  // for messages

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y = this rank's part of the sum of every rank's x: the r-th of n equal parts of the first axis.
struct ReduceScatter {
  static constexpr std::string_view name = "reduce_scatter";
  Tensor y;       // [T / n, ...]
  ConstTensor x;  // [T, ...]
  const Group& group;
  std::string_view label;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y = every rank's x, along the first axis.
struct AllGather {
  static constexpr std::string_view name = "all_gather";
  Tensor y;       // [T n, ...]
  ConstTensor x;  // [T, ...]; may be this rank's part of y
  const Group& group;
  std::string_view label;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
