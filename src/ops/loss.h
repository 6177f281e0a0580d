// Cross-entropy of the next token, with the auxiliary z-loss of PaLM (Chowdhery et al., 2022,
// section 5), over a chunk of tokens; in one op, or cut in two for tensor-parallel ranks that share
// the vocabulary. Gradients replace the logits in place, so that logits exist once.
#pragma once

#include "ops/op.h"

namespace hg {

/// For each row t with targets[t] >= 0, with z = logsumexp(logits[t]):
///   loss[t] = z - logits[t, target],   lse[t] = z;
///   if backward, logits[t, v] = scale (softmax(logits[t])[v] (1 + 2 z_loss z) - [v = target]),
/// the gradient of scale * (loss + z_loss z^2). Other rows: loss, lse and gradient 0. A target of V
/// or more is an error; a logit of NaN or +infinity makes its row's loss NaN.
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  Tensor logits;        // [T, V]: read, then overwritten if backward
  Tensor loss, lse;     // [T] f32
  ConstTensor targets;  // [T] i32, below V
  float z_loss, scale;
  bool backward;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// What one rank, which has columns [first, first + V) of the logits, knows of each row's loss:
/// part[t] = (m, sum over v of exp(logits[t, v] - m), the target's logit or 0 if another rank's),
/// with m the largest logit, or the lowest finite number if all are -infinity. Rows without a
/// target: zeros. A logit of NaN or +infinity makes its row's sum NaN.
struct CrossEntropyPart {
  static constexpr std::string_view name = "cross_entropy_part";
  static constexpr std::int64_t kParts = 3;
  Tensor part;          // [T, kParts] f32
  ConstTensor logits;   // [T, V]
  ConstTensor targets;  // [T] i32, of the whole vocabulary; negative: none
  std::int64_t first;   // the token of the first column

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// CrossEntropy over the columns of n ranks, from the parts of all of them; the gradient is that of
/// this rank's columns. A target beyond the whole vocabulary, which no rank can tell from a target
/// of another rank, is not seen: its logit counts as 0. The caller checks.
struct CrossEntropyJoin {
  static constexpr std::string_view name = "cross_entropy_join";
  Tensor logits;        // [T, V]: read, then overwritten if backward
  Tensor loss, lse;     // [T] f32, the same on every rank
  ConstTensor parts;    // [n, T, CrossEntropyPart::kParts] f32, by rank
  ConstTensor targets;  // [T] i32, of the whole vocabulary; negative: none
  std::int64_t first;   // the token of the first column
  float z_loss, scale;
  bool backward;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
