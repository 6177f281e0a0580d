// The whole decoder: embedding, blocks, head. Forward and backward are written out by hand; a
// training step calls forward_backward once per micro-batch.
#pragma once

#include <vector>

#include "model/head.h"

namespace hg {

/// Loss of a micro-batch, each token by itself.
struct TokenLosses {
  Tensor loss, lse;  // [T] f32: cross-entropy, and logsumexp of the logits; 0 without a target
};

/// Which of a step's micro-batches this is: the first overwrites gradients, the last sends them to
/// other ranks.
struct MicroBatch {
  bool first = true, last = true;
};

class Transformer {
 public:
  /// Declares every parameter in `store`.
  Transformer(const ModelConfig& config, ParamStore& store);

  /// Makes the RoPE table, from an arena that outlives the model.
  void make_tables(Device device, Arena& arena);

  /// One micro-batch: losses, and gradients of (sum of losses + z_loss sum of lse^2), added to
  /// those of the step's earlier micro-batches. Dividing by the number of targets is left to the
  /// optimizer, so that a step's gradient does not depend on how it was cut into micro-batches.
  /// Instruments, if given, see the forward pass and change nothing.
  void forward_backward(Context& ctx, const Batch& batch, Recompute recompute, float z_loss,
                        MicroBatch micro, const TokenLosses& losses,
                        const Instruments* instruments = nullptr);
  /// Behind the last micro-batch of a step: what the model itself adapts, which is the routers'
  /// biases.
  void end_step(Context& ctx) const;
  /// Losses alone; and what instruments see.
  void forward(Context& ctx, const Batch& batch, const TokenLosses& losses,
               const Instruments* instruments = nullptr);
  /// Logits, [1, V], of the last of n new tokens of one document, whose `first` earlier ones are in
  /// the caches, one per block; the new ones are added.
  void decode(Context& ctx, ConstTensor tokens, ConstTensor positions, std::int64_t first,
              std::span<const KeyValueCache> caches, Tensor logits) const;

  const ModelConfig& config() const { return config_; }

 private:
  /// The unit of block i; of the head behind the last one.
  UnitId unit_of(std::size_t block) const;
  Stream embed(Context& ctx, ConstTensor tokens, Arena& arena) const;

  ModelConfig config_;
  TensorRegion region_;  // of the vocabulary, which ranks share
  ParamStore& store_;
  UnitId embedding_unit_;
  ParamId embedding_;
  std::vector<Block> blocks_;
  Head head_;
  RopeTable rope_;
  std::vector<Block::Saved> saved_;  // what forward left for backward; of one micro-batch
};

}  // namespace hg
