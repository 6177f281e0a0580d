// How the ranks of a mesh share a parameter: the one table that initial values, gradients, norms
// and checkpoints follow.
#pragma once

#include <algorithm>

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

/// What a rank holds of a parameter, told without the ranks: elements [begin, begin + numel) of one
/// of the equal shares that `split` makes of the whole.
struct Piece {
  Shape whole;
  Split split = Split::none;
  int share = 0, shares = 1;
  std::int64_t begin = 0, numel = 0;

  bool is_whole() const { return numel == whole.numel(); }
};

/// Elements [begin, begin + count) of a piece that are elements [whole, whole + count) of the
/// whole.
struct PieceRun {
  std::int64_t begin, whole, count;
};

/// Calls fn(run) for all runs of a piece, in order.
template <class Fn>
void for_piece_runs(const Piece& piece, Fn&& fn) {
  const std::int64_t first = piece.begin, last = piece.begin + piece.numel;
  const auto run_of_share = [&](std::int64_t at, std::int64_t whole, std::int64_t count) {
    const std::int64_t begin = std::max(at, first), end = std::min(at + count, last);
    if (begin < end) fn(PieceRun{begin - first, whole + begin - at, end - begin});
  };
  const std::int64_t all = piece.whole.numel() / piece.shares;
  if (piece.split == Split::columns) {
    const std::int64_t rows = piece.whole[0], width = piece.whole[1] / piece.shares;
    for (std::int64_t row = 0; row < rows; ++row)
      run_of_share(row * width, (row * piece.shares + piece.share) * width, width);
  } else if (piece.split == Split::halves) {
    run_of_share(0, piece.share * all / 2, all / 2);
    run_of_share(all / 2, (piece.shares + piece.share) * all / 2, all / 2);
  } else {
    run_of_share(0, piece.share * all, all);
  }
}

}  // namespace hg
