// Collectives as ops: on the device that run() looks at, timed by the trace like any other, and
// planned for by a meta run. In a group of one they do nothing, or copy. The same host code serves
// a GPU, whose communicators enqueue their work.
#pragma once

#include "dist/mesh.h"
#include "ops/op.h"

namespace hg {

/// This rank's of equal parts of the first axis.
inline Tensor part_of(const Tensor& whole, const Group& group) {
  const std::int64_t rows = whole.dim(0) / group.size;
  return whole.rows(group.rank * rows, (group.rank + 1) * rows);
}

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
  void cuda(Context& ctx) const { cpu(ctx); }
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
  void cuda(Context& ctx) const { cpu(ctx); }
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
  void cuda(Context& ctx) const { cpu(ctx); }
};

/// Rows for each rank of the group, in order, to that rank; y is what all ranks have for this one,
/// by rank. Counts are [n, E] i32, whose rows are summed up; without them each rank gets as many.
/// Rows of x behind the last one sent are left out, and rows of y behind the last are left alone.
/// On a GPU the host waits for the counts: NCCL takes them from it.
struct AllToAll {
  static constexpr std::string_view name = "all_to_all";
  Tensor y;              // [A, ...]
  ConstTensor x;         // [R, ...]
  ConstTensor received;  // of y: [n, E] i32; absent with `sent`
  ConstTensor sent;      // of x
  const Group& group;
  std::string_view label;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  void cuda(Context& ctx) const { cpu(ctx); }
};

}  // namespace hg
