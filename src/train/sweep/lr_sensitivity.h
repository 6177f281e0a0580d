// How much a model's loss depends on the learning rate: arXiv 2309.14322, section 2.2.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace hg {

/// A run of one variant, as far as learning rates are compared.
struct LrPoint {
  double lr = 0;  ///< peak
  std::int64_t seed = 0;
  bool ended = false;     ///< finished or diverged: it has a loss
  bool diverged = false;  ///< then its loss is the initial one
  double loss = 0;        ///< of validation, behind the last step
  double initial = 0;     ///< of validation, before the first step
};

/// Numbers are NaN where nothing is known.
struct LrSummary {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

  std::vector<double> grid;  ///< learning rates at which every seed has ended, ascending
  std::vector<std::int64_t> seeds;
  double best_lr = kNone;            ///< of the grid, with the lowest loss; of equals the lowest
  double best_loss = kNone;          ///< l*
  double largest_stable_lr = kNone;  ///< up to which no seed diverged anywhere on the grid
  double sensitivity = kNone;
  /// [seeds]: what the sensitivity is with one seed alone, over the learning rates of the grid that
  /// every seed was given: how far chance moves it.
  std::vector<double> of_seeds;
};

/// With theta = A(lr) the trained weights, l(theta) their validation loss, l0 that of the initial
/// weights, and E and min over the grid:
///   sensitivity = E[ min(l(A(lr)), l0) ] - l*,  l* = min over lr of the same
/// With several seeds, a learning rate's min(l, l0) is the mean over its seeds, each cut at its own
/// l0 first: a seed that diverged counts l0. A learning rate that some seed has not ended at is not
/// in the grid. A grid of one value has sensitivity 0, none at all NaN.
LrSummary summarize_lrs(std::span<const LrPoint> points);

}  // namespace hg
