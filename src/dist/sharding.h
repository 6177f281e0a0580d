// How the ranks of a mesh share a parameter: the one table that initial values, gradients, norms
// and checkpoints follow.
#pragma once

#include "core/tensor.h"
#include "dist/mesh.h"

namespace hg {

/// What a rank holds of a parameter, and which ranks see different tokens with the same values.
enum class Split {
  none,     ///< all of it, and its gradient is the same on all ranks of the tensor axis
  partial,  ///< all of it, but its gradient is a part of the sum over the tensor axis
  rows,     ///< one of equal parts of the first axis, along the tensor axis
  columns,  ///< of the second axis, along the tensor axis
  halves,   ///< of each half of the first axis: gate and up
  experts   ///< of the first axis, along the expert axis
};

/// The ranks among which a parameter is split.
inline const Group& split_group(const Mesh& mesh, Split split) {
  static const Group alone;
  if (split == Split::experts) return mesh.expert;
  return split == Split::none || split == Split::partial ? alone : mesh.tensor;
}

/// The shape of the whole, of which `shape` is this rank's part.
Shape whole_shape(const Mesh& mesh, Split split, const Shape& shape);

/// Elements [begin, begin + count) of a rank's part that are elements [whole, whole + count) of the
/// whole parameter.
struct ShardRun {
  std::int64_t begin, whole, count;
};

/// Calls fn(run) for all runs of a part of this shape, in order.
template <class Fn>
void for_shard_runs(const Mesh& mesh, Split split, const Shape& shape, Fn&& fn) {
  const std::int64_t size = split_group(mesh, split).size, rank = split_group(mesh, split).rank;
  const std::int64_t all = shape.numel();
  if (split == Split::columns) {
    const std::int64_t width = shape[1];
    for (std::int64_t row = 0; row < shape[0]; ++row)
      fn(ShardRun{row * width, (row * size + rank) * width, width});
  } else if (split == Split::halves) {
    fn(ShardRun{0, rank * all / 2, all / 2});
    fn(ShardRun{all / 2, (size + rank) * all / 2, all / 2});
  } else {
    fn(ShardRun{0, rank * all, all});
  }
}

}  // namespace hg
