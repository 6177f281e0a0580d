// Rows on their way between the rank that has their tokens and the rank that has their experts.
#pragma once

#include "core/context.h"
#include "dist/mesh.h"
#include "model/moe_config.h"

namespace hg {

/// With E experts on n ranks, rank r has experts [r E / n, (r + 1) E / n). A rank's own rows are R,
/// in the order of all experts; what arrives at its experts is put into their order, and there is
/// room for all rows of all ranks. With one rank rows stay where they are.
class ExpertExchange {
 public:
  /// What backward needs again.
  struct Saved {
    ConstTensor sent;     // [n, E / n] i32: own rows for each rank's experts
    Tensor arrived;       // [n, E / n] i32: rows from each rank, for each expert here
    Tensor places;        // [A, 1] i32: of arrived rows in the order of experts; -1 behind the last
    ConstTensor offsets;  // [E / n + 1] i32: the rows of each expert here

    /// How many of the A rows there are, [1] i32: what lies behind is nobody's.
    ConstTensor used() const { return offsets.slice(0, offsets.dim(0) - 1, offsets.dim(0)); }
  };

  ExpertExchange(const Mesh& mesh, const MoeConfig& config)
      : group_(mesh.expert), experts_(config.num_experts / mesh.expert.size) {}

  /// A: rows at the experts here, at most, where each rank has `rows` and an expert takes
  /// `capacity` of a rank's (0: any number).
  std::int64_t room(std::int64_t rows, std::int64_t capacity) const;
  /// Tells other ranks what will come; counts and offsets, [E] and [E + 1], are of the own rows.
  void plan(Context& ctx, Arena& keep, ConstTensor counts, ConstTensor offsets, std::int64_t room,
            Saved& s) const;

  /// [R, C] to [A, C]: in `y` or, with one rank, x itself.
  ConstTensor to_experts(Context& ctx, const Saved& s, ConstTensor x, Tensor y) const;
  /// [A, C] to [R, C], the other way; each is the other's backward.
  ConstTensor to_tokens(Context& ctx, const Saved& s, ConstTensor x, Tensor y) const;

  bool alone() const { return group_.size == 1; }

 private:
  Group group_;
  std::int64_t experts_;  // of each rank
};

}  // namespace hg
