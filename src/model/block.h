// One decoder block, pre-norm: attention and MLP or experts, each behind an RMSNorm, each added to
// the residual.
#pragma once

#include "model/attention.h"
#include "model/branch_output.h"
#include "model/feed_forward.h"
#include "model/stream_norm.h"
#include "model/tensor_region.h"

namespace hg {

class Block {
 public:
  struct Saved {
    StreamNorm::Saved attention_norm, mlp_norm;
    Tensor attention_input;  // of all tokens, where ranks share them
    Attention::Saved attention;
    FeedForward::Saved mlp;
    BranchOutput::Saved attention_output, mlp_output;
  };

  /// Begins a unit of the store and declares its parameters.
  Block(ParamStore& store, const ModelConfig& config, std::int64_t layer);

  void forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
               Stream& stream, Saved& s, Keep keep, const LayerInstruments& look = {}) const;
  /// d holds the gradient of the stream behind the block, and then of the stream before it.
  void backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                const RopeTable& rope, Saved& s, Recompute recompute, Tensor d) const;
  /// Forward of new tokens of one document; see Attention::decode.
  void decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
              const RopeTable& rope, Stream& stream, const KeyValueCache& cache) const;

  /// Around the micro-batches of a step; see Router.
  void begin_step(Context& ctx, const Weights& w) const { mlp_.begin_step(ctx, w); }
  void end_step(Context& ctx, const Weights& w) const { mlp_.end_step(ctx, w); }

  UnitId unit() const { return unit_; }

 private:
  Block(ParamStore& store, const ModelConfig& config, std::int64_t layer, const std::string& name);
  /// Attention from its norm's output to delta, or to what stands in front of delta.
  void attend(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
              Tensor delta, Saved& s, Keep keep) const;
  void make_again(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                  Saved& s, Recompute recompute) const;

  UnitId unit_;
  TensorRegion region_;  // that attention stands in; the other branch has its own
  StreamNorm attention_norm_;
  Attention attention_;
  BranchOutput attention_output_;
  StreamNorm mlp_norm_;
  FeedForward mlp_;
  BranchOutput mlp_output_;
};

}  // namespace hg
