// The token embedding: a row look-up, and its transpose, of the whole vocabulary or of the rows
// that one tensor-parallel rank holds.
#pragma once

#include "ops/op.h"

namespace hg {

/// y[t] = weight[tokens[t] - first]; zeros where that row is another rank's, so that the ranks' y
/// add up to the whole. A token outside [0, vocab) is an error.
struct EmbeddingForward {
  static constexpr std::string_view name = "embedding_forward";
  Tensor y;            // [T, D]
  ConstTensor tokens;  // [T] i32, below vocab
  ConstTensor weight;  // [V, D]
  std::int64_t first;  // the row of the whole embedding that `weight` begins with
  std::int64_t vocab;  // rows of the whole embedding

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dweight[v] (+)= sum of dy[t] over the t with tokens[t] = first + v, in the order of t. A token
/// outside [0, vocab) is an error.
struct EmbeddingBackward {
  static constexpr std::string_view name = "embedding_backward";
  Tensor dweight;      // [V, D] f32
  ConstTensor dy;      // [T, D]
  ConstTensor tokens;  // [T] i32, below vocab
  std::int64_t first;  // the row of the whole embedding that `dweight` begins with
  std::int64_t vocab;  // rows of the whole embedding
  bool accumulate;     // dweight; otherwise it is zeroed first

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
