// The gate of one attention layer: where its logits come from, and what it does to the heads it
// stands on. Every variant is this one class; model/gate_config.h describes them.
#pragma once

#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/keep.h"

namespace hg {

/// KV heads, heads of each and width of what a gate at the config's position stands on.
Shape gated_heads(const ModelConfig& config);

class AttentionGate {
 public:
  struct Saved {
    Tensor logits;              // [T, KV, G, E], where they are no part of the fused projection
    Tensor shared;              // [T, 1, 1, E]: their mean over heads, or that of their scores
    Tensor gated;               // [T, KV, G, D], unless forward was told where to write
    ConstTensor state, result;  // what forward gated, and what came out: for instruments
  };
  /// What the logits are made from. `fused` are the gate's columns of the fused projection,
  /// [T, KV, G, E]; absent if it has none there.
  struct Source {
    ConstTensor hidden;  // [T, hidden], normalised
    ConstTensor fused;
  };

  /// Declares a weight of its own, if the logits are not made by the fused projection.
  AttentionGate(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  bool stands_at(GatePosition position) const { return config_.position == position; }
  /// Heads of each group that have logits, and the logits of each.
  std::int64_t group() const { return group_; }
  std::int64_t logit_width() const { return e_; }
  /// Columns that each KV head has in the fused projection.
  std::int64_t fused_width() const { return fused_ ? group_ * e_ : 0; }
  float init_std() const { return init_std_; }

  /// What is behind the gate: `state`, [T, KV, G, D], gated, in `y` or else kept.
  ConstTensor forward(Context& ctx, const Weights& w, const Source& from, ConstTensor state,
                      Saved& s, Keep keep, Tensor y = {}) const;
  /// The gradient of `state`, which may be dy itself, from dy; that of the fused columns; and the
  /// gradient of the hidden state through a weight of its own, [T, hidden] in scratch: absent if
  /// there is none.
  Tensor backward(Context& ctx, const Weights& w, const Gradients& g, const Source& from,
                  ConstTensor state, const Saved& s, ConstTensor dy, Tensor dstate,
                  Tensor dfused) const;

  /// Logits as the gate op takes them, [T, KV, G, E] for a state of this shape, and what the op
  /// makes of them. Absent where a state gates itself.
  ConstTensor logits(const Weights& w, const Source& from, const Shape& state,
                     const Saved& s) const;
  GateFunction function() const;

 private:
  bool averaged() const {
    return config_.heads == GateHeads::mean_scores || config_.heads == GateHeads::mean_logits;
  }
  /// The activation in front of the mean over heads.
  Activation inner() const {
    return config_.heads == GateHeads::mean_scores ? config_.activation : Activation::identity;
  }
  /// Logits of each head, in front of a mean over heads.
  ConstTensor own_logits(const Source& from, const Saved& s) const {
    return fused_ ? from.fused : ConstTensor(s.logits);
  }
  float share() const { return 1.0F / static_cast<float>(kv_ * group_); }  // of a head in a mean
  ConstTensor used(ConstTensor hidden) const { return hidden.slice(1, 0, dims_); }
  void make_logits(Context& ctx, const Weights& w, const Source& from, ConstTensor state, Saved& s,
                   Keep keep) const;
  Tensor backward_of_logits(Context& ctx, const Weights& w, const Gradients& g, const Source& from,
                            ConstTensor state, const Saved& s, ConstTensor dlogits,
                            Tensor dstate) const;

  GateConfig config_;
  std::int64_t kv_, group_, d_, e_;  // heads that are gated, their width, logits of each
  std::int64_t dims_;                // of the hidden state
  bool fused_;
  float init_std_;
  ParamId weight_ = -1;
};

}  // namespace hg
