// How evenly a router loads its experts, and what tells of its health: pure numbers, from what
// instruments see of it.
#pragma once

#include <vector>

#include "model/instruments.h"

namespace hg {

/// What the router of one layer did, added up over documents, micro-batches and ranks.
struct RouterTotals {
  std::int64_t tokens = 0;
  std::int64_t dropped = 0;              ///< choices, for lack of capacity
  std::vector<std::int64_t> choices;     ///< [E]
  std::vector<double> probability_sums;  ///< [E], over tokens
  double squared_lse = 0;                ///< sum of logsumexp(logits)^2 over tokens
  double top_probability = 0;            ///< sum of the largest probability over tokens
  double largest_logit = 0;              ///< by magnitude

  explicit RouterTotals(std::int64_t experts)
      : choices(static_cast<std::size_t>(experts)), probability_sums(choices.size()) {}

  /// Adds what a router did, from memory that the host reads. A token makes `top_k` choices.
  void add(const RouterView& view, std::int64_t top_k);
  void add(const RouterTotals& other);
};

/// An expert with less than this share of the ideal load is dead.
inline constexpr double kDeadLoad = 0.01;

/// The ideal load of an expert is the mean: choices / E. Losses are without their coefficients.
struct RouterLoad {
  double max_load, min_load;  ///< of the most and the least chosen expert, over the ideal
  double max_violation;       ///< max_load - 1 (arXiv 2408.15664)
  double load_cv;             ///< coefficient of variation: standard deviation over mean
  double load_entropy;        ///< of the shares of choices, over ln E: 1 is even, 0 one expert
  std::int64_t dead_experts;  ///< with less than kDeadLoad
  double dropped;             ///< share of choices
  double top_probability;     ///< mean over tokens of the largest probability
  double largest_logit;       ///< by magnitude
  double balance_loss;        ///< E sum of f P, as in RouterBackward: 1 if f or P is even
  double z_loss;              ///< mean of logsumexp(logits)^2
};

/// Choices of each expert over the ideal. Throws if there were no tokens.
std::vector<double> relative_loads(const RouterTotals& totals);

/// Throws if there were no tokens.
RouterLoad router_load(const RouterTotals& totals);

}  // namespace hg
