// How large activations are: massive ones are what gates are said to remove. Forward only.
#pragma once

#include "ops/op.h"

namespace hg {

/// Statistics of |x| over the finite elements of a matrix; NaN if there is none.
struct Magnitudes {
  static constexpr std::string_view name = "magnitudes";
  /// Elements of `out`.
  enum Statistic {
    kMax,
    kToken,  ///< where the largest is: the first in memory order, if there are several
    kChannel,
    kMean,
    kRms,
    kShareBelow1e2,  ///< |x| < 1e-2
    kShareBelow1e3,
    kNonFinite,  ///< how many elements are NaN or infinite: left out of all the others
    kStatistics
  };

  Tensor out;     // [kStatistics] f32
  ConstTensor x;  // [T, C], rows any distance apart

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Partial results, [pieces, bytes of one / 4].
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kRowsPerPiece = 64;

  /// Of a piece of the rows.
  struct Partial {
    double sum, squares;
    std::int64_t finite, below_1e2, below_1e3;
    std::int64_t token, channel;
    double max;  // -1 where nothing is finite
  };
};

/// Magnitudes of a matrix from those of its n equal parts: some of its rows, or of its columns.
struct JoinMagnitudes {
  static constexpr std::string_view name = "join_magnitudes";
  Tensor out;                     // [kStatistics] f32
  ConstTensor parts;              // [n, kStatistics] f32, of Magnitudes
  std::int64_t elements;          // of a part
  std::int64_t tokens, channels;  // that part i + 1 begins behind part i: 0 along one axis

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
