// The matrix products of the experts of a mixture: a linear layer of its own for each group of
// rows. The rows of expert e are [offsets[e], offsets[e + 1]): any number of them, none is padded,
// and only the run knows how many. Rows from offsets[E] on belong to nobody and are left as they
// are. All operands but dweight and offsets are f32 or all are bf16, with inner stride 1; rows may
// lie apart, weights may not.
#pragma once

#include "ops/op.h"

namespace hg {

/// What the products need besides their operands; see ops/cpu/grouped_linear.cpp. Parts may be
/// absent.
struct GroupedLinearScratch {
  Tensor a, b, c;       // operands and results on their way to and from oneDNN
  Tensor first_pieces;  // [E + 1] i32: the first piece of each expert, and their number
  Tensor held;          // [workers] i32: the expert whose weight a worker has in b
  Tensor library;       // [workers, bytes / 4]: oneDNN's own
};

/// y[r] = x[r] weight[e]^T for the rows r of each expert e.
struct GroupedLinearForward {
  static constexpr std::string_view name = "grouped_linear_forward";
  Tensor y;             // [R, N]
  ConstTensor x;        // [R, K]
  ConstTensor weight;   // [E, N, K]
  ConstTensor offsets;  // [E + 1] i32, ascending from 0 to at most R

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  GroupedLinearScratch scratch(Context& ctx) const;
};

/// dx[r] = dy[r] weight[e].
struct GroupedLinearBackwardInput {
  static constexpr std::string_view name = "grouped_linear_backward_input";
  Tensor dx;            // [R, K]
  ConstTensor dy;       // [R, N]
  ConstTensor weight;   // [E, N, K]
  ConstTensor offsets;  // [E + 1] i32, ascending from 0 to at most R

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  GroupedLinearScratch scratch(Context& ctx) const;
};

/// dweight[e] (+)= sum over the rows r of e of dy[r]^T x[r], in f32; zeros for an expert without
/// rows, unless they are added.
struct GroupedLinearBackwardWeight {
  static constexpr std::string_view name = "grouped_linear_backward_weight";
  Tensor dweight;       // [E, N, K] f32
  ConstTensor dy, x;    // [R, N], [R, K]
  ConstTensor offsets;  // [E + 1] i32, ascending from 0 to at most R
  bool accumulate;      // dweight

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  GroupedLinearScratch scratch(Context& ctx) const;
};

}  // namespace hg
