// Moving tokens to the experts that ops/route.h chose for them, and back. Tokens are [T, H]; rows
// are in the order of experts, [R, H] with R = T K, so that each expert's lie end to end.
#pragma once

#include "ops/op.h"
#include "ops/route.h"

namespace hg {

/// Gives each choice (t, k) a row: experts in order, and within an expert the order of t, then of
/// k. Expert e has rows [offsets[e], offsets[e + 1]). With a capacity, choices beyond an expert's
/// first `capacity` are dropped: their row is -1, and rows from offsets[E] on belong to nobody.
struct ExpertPlan {
  static constexpr std::string_view name = "expert_plan";
  Tensor rows;            // [T, K] i32
  Tensor counts;          // [E] i32: rows of each expert
  Tensor offsets;         // [E + 1] i32
  Tensor dropped;         // [1] i32: choices without a row
  ConstTensor experts;    // [T, K] i32, below E
  std::int64_t capacity;  // rows of an expert, at most; 0: as many as are chosen

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Choices of each expert in pieces of tokens, [pieces, E] i32.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kTokensPerPiece = 256;
};

/// y[rows[t, k]] = x[t]. Rows that belong to nobody are left as they are.
struct PermuteForward {
  static constexpr std::string_view name = "permute_forward";
  Tensor y;          // [R, H]
  ConstTensor x;     // [T, H]
  ConstTensor rows;  // [T, K] i32, each row at most once; -1: dropped

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx[t] = sum over k of dy[rows[t, k]], in the order of k; dropped choices add nothing.
struct PermuteBackward {
  static constexpr std::string_view name = "permute_backward";
  Tensor dx;         // [T, H]
  ConstTensor dy;    // [R, H]
  ConstTensor rows;  // as in forward

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y[t] = sum over k of weights[t, k] x[rows[t, k]], in the order of k; dropped choices add
/// nothing.
struct CombineForward {
  static constexpr std::string_view name = "combine_forward";
  Tensor y;             // [T, H]
  ConstTensor x;        // [R, H]
  ConstTensor weights;  // [T, K] f32
  ConstTensor rows;     // [T, K] i32, each row at most once; -1: dropped

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dx[rows[t, k]] = weights[t, k] dy[t],   dweights[t, k] = dy[t] . x[rows[t, k]], 0 if dropped.
/// Rows that belong to nobody are left as they are.
struct CombineBackward {
  static constexpr std::string_view name = "combine_backward";
  Tensor dx;            // [R, H]; may be x itself
  Tensor dweights;      // [T, K] f32
  ConstTensor dy;       // [T, H]
  ConstTensor x;        // [R, H]
  ConstTensor weights;  // [T, K] f32
  ConstTensor rows;     // as in forward

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
