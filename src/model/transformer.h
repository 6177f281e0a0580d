// The decoder: embedding, blocks, head, or what a pipeline stage has of them. Forward and backward
// are written out by hand.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "model/embedding.h"
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

/// What backward of a micro-batch is told.
struct BackwardOptions {
  Recompute recompute = Recompute::none;
  float z_loss = 0;
  MicroBatch micro = {};
};

/// What the forward pass of a micro-batch through one chunk left for its backward pass.
struct Flight {
  std::vector<Block::Saved> blocks;
  Stream stream;  // at the model's end, which backward begins with
};

/// Layers that follow one another form a chunk. A pipeline stage has one or several; a rank that
/// has the whole model has one, which begins with the embedding and ends with the head.
class Transformer {
 public:
  /// Declares in `store` every parameter that its mesh gives this rank.
  Transformer(const ModelConfig& config, ParamStore& store);

  /// Makes the RoPE table, from an arena that outlives the model.
  void make_tables(const Context& ctx, Arena& arena);

  int chunks() const { return static_cast<int>(chunks_.size()); }
  /// Whether the model begins with this chunk, and whether it ends with it.
  bool begins(int chunk) const { return chunk_of(chunk).begins; }
  bool ends(int chunk) const { return chunk_of(chunk).ends; }
  /// Room for the residual stream of a micro-batch of so many tokens, or for its gradient: what
  /// this rank has of [T, hidden], in the type computed in.
  Tensor make_stream(Arena& arena, std::string_view label, std::int64_t tokens) const;

  // A training step is begin_step, forward and backward of each micro-batch through each chunk, and
  // end_step.

  /// What the model itself adapts, which is the routers' biases: the beginning of a step, and its
  /// end.
  void begin_step(Context& ctx) const;
  void end_step(Context& ctx) const;
  /// `x` is what the chunk in front gave, absent where the model begins. What backward needs stays
  /// in ctx.activations, x too. Returns this chunk's stream, nothing at the model's end.
  /// Instruments, if given, see the pass and change nothing.
  Tensor forward(Context& ctx, int chunk, const Batch& batch, ConstTensor x, Recompute recompute,
                 Flight& flight, const Instruments* instruments = nullptr) const;
  /// d, [T, hidden], comes as the gradient of the chunk's stream, and leaves as that of x. At the
  /// model's end it begins here, of (sum of losses + z_loss sum of lse^2), and losses are written:
  /// dividing by the number of targets is left to the optimizer, so that a step's gradient does not
  /// depend on how it was cut into micro-batches. Weights' gradients are added to those of the
  /// step's earlier micro-batches.
  void backward(Context& ctx, int chunk, const Batch& batch, const BackwardOptions& options,
                Flight& flight, const TokenLosses& losses, Tensor d) const;
  /// Forward alone: the chunk's stream, in scratch; at the model's end the losses.
  Tensor infer(Context& ctx, int chunk, const Batch& batch, ConstTensor x,
               const TokenLosses& losses, const Instruments* instruments = nullptr) const;

  // For a rank that has the whole model.
  /// Forward and backward of one micro-batch.
  void forward_backward(Context& ctx, const Batch& batch, const BackwardOptions& options,
                        const TokenLosses& losses, const Instruments* instruments = nullptr) const;
  /// Losses alone; and what instruments see.
  void forward(Context& ctx, const Batch& batch, const TokenLosses& losses,
               const Instruments* instruments = nullptr) const;
  /// Logits, [1, V], of the last of n new tokens of one document, whose `first` earlier ones are in
  /// the caches, one per block; the new ones are added.
  void decode(Context& ctx, ConstTensor tokens, ConstTensor positions, std::int64_t first,
              std::span<const KeyValueCache> caches, Tensor logits) const;

  const ModelConfig& config() const { return config_; }

 private:
  struct Chunk {
    std::vector<Block> blocks;
    std::size_t first_layer;
    bool begins, ends;  // the model
  };
  const Chunk& chunk_of(int chunk) const { return chunks_[static_cast<std::size_t>(chunk)]; }
  std::vector<Chunk> make_chunks(ParamStore& store) const;
  /// The unit of block i of a chunk, if that is what follows; -1 if not.
  UnitId unit_of(const Chunk& chunk, std::size_t block) const;
  /// The stream in front of a chunk's first block. What blocks write for a moment is in `room`.
  Stream enter(Context& ctx, const Chunk& chunk, ConstTensor tokens, ConstTensor x, Arena& arena,
               Arena& room) const;
  void run_blocks(Context& ctx, const Chunk& chunk, const Batch& batch, Keep keep, Stream& stream,
                  std::span<Block::Saved> saved, const Instruments* instruments) const;

  ModelConfig config_;
  ParamStore& store_;
  std::optional<Embedding> embedding_;  // where the model begins; if tied, also where it ends
  std::vector<Chunk> chunks_;
  std::optional<Head> head_;
  RopeTable rope_;
};

/// Every parameter of a model as a rank alone has it, without memory.
std::unique_ptr<ParamStore> declare_model(const ModelConfig& config);

}  // namespace hg
