// The router of a mixture of experts (Shazeer et al., 2017): which experts a token goes to, with
// which weights, and what keeps their loads even. Moving the tokens is in ops/dispatch.h.
#pragma once

#include "ops/op.h"

namespace hg {

/// Experts of a layer, at most.
inline constexpr std::int64_t kMaxExperts = 1024;

/// How logits become scores: softmax over all experts; or the logistic function of each, as in
/// DeepSeek-V3 (arXiv 2412.19437).
enum class RouterScore { softmax, sigmoid };

struct RouterFunction {
  RouterScore score = RouterScore::softmax;
  bool renormalize = true;  ///< the weights of a token sum to 1, before `factor`
  float factor = 1;         ///< of the weights
};

/// The K experts with the largest scores + bias, by falling score + bias; of equals, the lowest
/// first. The bias selects but does not weigh (arXiv 2408.15664):
///   weights[t, k] = factor scores[t, e] / (renormalize ? sum of the K scores + 1e-20 : 1)
/// Probabilities p are what the sums are of: the softmax scores; sigmoid scores divided by their
/// sum over all experts, as in DeepSeek-V3. S is 1, or the documents if their bounds are given.
/// A logit or bias that is not finite is an error, and nothing is written.
struct RouterForward {
  static constexpr std::string_view name = "router_forward";
  /// Elements of `statistics`, over all tokens.
  enum Statistic {
    kSquaredLse,      ///< sum of logsumexp(logits[t])^2: T times the z-loss of ST-MoE
    kTopProbability,  ///< sum of the largest p[t]
    kLargestLogit,    ///< by magnitude
    kStatistics
  };

  Tensor weights, experts;  // [T, K] f32, [T, K] i32
  Tensor counts;            // [S, E] i32: how often each expert is chosen
  Tensor probability_sums;  // [S, E] f32: sum of p over tokens
  Tensor statistics;        // [kStatistics] f32
  ConstTensor logits;       // [T, E] f32
  ConstTensor bias;         // [E] f32; may be absent
  ConstTensor documents;    // [S + 1] i32: bounds, ascending from 0 to T; may be absent
  RouterFunction function;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;

  /// A document begins a new piece, so that its sums are of pieces of its own.
  static constexpr std::int64_t kTokensPerPiece = 64;
  struct Scratch {
    Tensor counts;            // [pieces, E] i32
    Tensor probability_sums;  // [pieces, E] f32
    Tensor statistics;        // [pieces, kStatistics] f32
  };
  Scratch scratch(Context& ctx) const;
};

/// The gradient with respect to the logits, with the choice of experts held fixed, of
///     sum over t, k of dweights[t, k] weights[t, k]
///   + sum over t, e of balance[document of t, e] p[t, e]
///   + sum over t of z logsumexp(logits[t])^2
/// Factors are the caller's, and with them the scaling. Where the objective is a sum over G
/// targets, by which the optimizer divides, a loss enters it G times:
///  - balance[e] = G coefficient E f[e] / T for the loss coefficient E sum over e of f[e] P[e].
///    P[e] is the mean of p[., e] over T tokens; f[e] is the share of expert e in all choices, a
///    constant to the gradient: of the micro-batch, of the global batch, or, with P and T, of the
///    document. Shares sum to 1, so an even load costs the coefficient, as in Megatron-LM;
///    transformers' load_balancing_loss_func does not divide f by K and is K times as large.
///  - z = G coefficient / T for coefficient times the mean of logsumexp^2 (arXiv 2202.08906).
struct RouterBackward {
  static constexpr std::string_view name = "router_backward";
  Tensor dlogits;         // [T, E] f32; may be the logits themselves
  ConstTensor dweights;   // [T, K] f32
  ConstTensor logits;     // [T, E] f32
  ConstTensor experts;    // [T, K] i32
  ConstTensor balance;    // [S, E] f32; may be absent: 0
  ConstTensor documents;  // [S + 1] i32, as in forward; may be absent: S = 1
  RouterFunction function;
  float z;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// loads[e] += sum over s of counts[s, e]: the choices of a batch, micro-batch by micro-batch.
struct RouterLoads {
  static constexpr std::string_view name = "router_loads";
  Tensor loads;        // [E] i32
  ConstTensor counts;  // [S, E] i32, of RouterForward

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// balance[s, e] = coefficient E counts[s, e] / sum over e of counts[s, e]; zeros where nothing is
/// counted. RouterBackward takes it where the objective charges each of the T tokens, for then G is
/// T and cancels, however long a document is. An even load costs the coefficient.
struct RouterBalance {
  static constexpr std::string_view name = "router_balance";
  Tensor balance;      // [S, E] f32
  ConstTensor counts;  // [S, E] i32, not negative: choices of this batch, or of any other
  float coefficient;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// Balancing without a loss (arXiv 2408.15664, algorithm 1):
///   bias[e] += rate sign(mean load - loads[e]),
/// recentred to a mean of zero, which changes no choice and keeps biases from drifting.
struct RouterBiasUpdate {
  static constexpr std::string_view name = "router_bias_update";
  Tensor bias;        // [E] f32
  ConstTensor loads;  // [E] i32: choices of each expert in the batch
  float rate;

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

}  // namespace hg
