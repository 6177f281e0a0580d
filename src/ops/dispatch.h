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

/// Places for rows that came from n ranks, each rank's in the order of experts: first all rows of
/// the first expert, by rank, and so on.
struct ArrivalPlan {
  static constexpr std::string_view name = "arrival_plan";
  Tensor places;       // [A, 1] i32: of each row that came; -1 behind the last one
  Tensor offsets;      // [E + 1] i32: the rows of each expert
  ConstTensor counts;  // [n, E] i32: rows of each rank for each expert, at most A in all

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y[rows[t, k]] = x[t]: a token to each of its rows. Rows of nobody are left as they are.
struct Permute {
  static constexpr std::string_view name = "permute";
  Tensor y;          // [R, H]
  ConstTensor x;     // [T, H]
  ConstTensor rows;  // [T, K] i32, each row at most once; -1: dropped

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y[t] = base[t] + sum over k of x[rows[t, k]], in f32 and the order of k: the rows of a token
/// together again. Dropped choices add nothing. Permute and Unpermute are each other's backward.
struct Unpermute {
  static constexpr std::string_view name = "unpermute";
  Tensor y;            // [T, H]
  ConstTensor x;       // [R, H]
  ConstTensor base;    // [T, H]; may be absent: 0; may be y itself
  ConstTensor rows;    // [T, K] i32; -1: dropped
  ConstTensor used{};  // [1] i32: tokens from there on are left as they are; may be absent: T

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y[rows[t, k]] = x[t, k]: the weight of a choice to its row. Rows of nobody are left as they are.
struct PermuteWeights {
  static constexpr std::string_view name = "permute_weights";
  Tensor y;          // [R] f32
  ConstTensor x;     // [T, K] f32
  ConstTensor rows;  // [T, K] i32, each row at most once; -1: dropped

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// y[t, k] = x[rows[t, k]], 0 where the choice was dropped: the backward of PermuteWeights.
struct UnpermuteWeights {
  static constexpr std::string_view name = "unpermute_weights";
  Tensor y;          // [T, K] f32
  ConstTensor x;     // [R] f32
  ConstTensor rows;  // [T, K] i32; -1: dropped

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
