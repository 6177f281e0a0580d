// The router of a layer of experts: a linear layer without bias, computed in f32 whatever the model
// computes in; the choice of experts; and what keeps their loads even.
#pragma once

#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/instruments.h"
#include "model/keep.h"

namespace hg {

class Router {
 public:
  /// Where tokens go. It is decided once, and kept for backward under every recompute policy: it is
  /// small, and a decision made twice might differ. R = T K.
  struct Saved {
    Tensor logits;       // [T, E] f32
    Tensor experts;      // [T, K] i32
    Tensor rows;         // [T, K] i32: of each choice among the rows of all experts; -1: dropped
    Tensor counts;       // [E] i32: rows of each expert
    Tensor offsets;      // [E + 1] i32: where they begin
    Tensor row_weights;  // [R] f32: what an expert's output is times
    Tensor balance;      // [S, E] f32, as RouterBackward takes it; absent without a balance loss
  };

  Router(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// x is [T, hidden], normalised. Training adds the choices to those of the step so far; only
  /// there is capacity limited.
  void forward(Context& ctx, const Weights& w, ConstTensor documents, ConstTensor x, Saved& s,
               Pass pass, const LayerInstruments& look) const;
  /// dx is written, [T, hidden]; drow_weights is [R] f32.
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor documents,
                ConstTensor drow_weights, ConstTensor x, const Saved& s, Tensor dx) const;

  /// Before the first micro-batch of a step: nothing has been chosen yet.
  void begin_step(Context& ctx, const Weights& w) const;
  /// Behind the last one: moves the bias by the loads of the step.
  void end_step(Context& ctx, const Weights& w) const;

 private:
  bool counts_all_ranks() const {
    return config_.aux_loss_coef > 0 && config_.load_balance == LoadBalance::global_batch;
  }
  bool biased() const { return config_.bias_update_rate > 0; }
  /// The bounds that sums are made between: none, unless the loss is of each document.
  ConstTensor bounds(ConstTensor documents) const;
  void balance(Context& ctx, const Weights& w, ConstTensor counts, Saved& s) const;

  MoeConfig config_;
  Group tokens_;  // the ranks that route tokens of their own
  ParamId weight_;
  BufferId loads_;
  BufferId bias_ = -1;
};

}  // namespace hg
