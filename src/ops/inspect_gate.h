// What a gate does in a run: the distribution of its scores, by head and by token. Forward only.
#pragma once

#include "ops/gate.h"

namespace hg {

/// Statistics of the scores s = scale * activation(logit).
///
/// A NaN score makes NaN of what it enters: its head's and the pooled mean, quantiles and largest
/// |logit|, and its token's mean. It counts as neither below nor above, and in no bin.
struct GateScores {
  static constexpr std::string_view name = "gate_scores";
  /// Columns of `heads`. Quantiles are exact: linear between order statistics, as numpy's default.
  enum Statistic {
    kMean,
    kQuantile01,
    kMedian,
    kQuantile99,
    kShareBelow005,
    kShareBelow01,
    kShareBelow05,
    kShareAbove095,
    kLargestLogit,  ///< by magnitude
    kStatistics
  };
  static constexpr std::int64_t kBins = 50;

  Tensor heads;        // [KV G + 1, kStatistics] f32; the last row is of all heads together
  Tensor histogram;    // [KV G, kBins] f32: scores in equal bins over [0, 1], others at the ends
  Tensor tokens;       // [T] f32: mean over heads and elements
  ConstTensor logits;  // [T, KV, G, E], in any strides; 0 repeats
  Activation activation;
  float scale;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;

  struct Scratch {
    Tensor scores;  // [KV G, T E] f32
    Tensor ranges;  // [KV G, 2] f32: lowest and highest score
    Tensor tokens;  // [KV G, T] f32: sums over elements
    Tensor trees;   // [KV G, elements of a RadixTree] i32
    Tensor wanted;  // [KV G + 1, order statistics, 2] i32
    Tensor kept;    // [KV G] i32
  };
  Scratch scratch(Context& ctx) const;
};

}  // namespace hg
