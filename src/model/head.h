// The end of the model: final norm, output projection and loss, a chunk of tokens at a time, so
// that the logits of a micro-batch never exist together.
#pragma once

#include <optional>

#include "model/block.h"

namespace hg {

class Head {
 public:
  /// Declares the final norm, and a weight, [V, hidden], unless it uses the embedding's.
  Head(ParamStore& store, const ModelConfig& config, std::optional<ParamId> tied);

  /// Cross-entropy and logsumexp of each token, [T] f32; 0 where there is no target. With
  /// gradients, also the gradient of (sum of losses + z_loss sum of lse^2): d is that of the
  /// stream, [T, hidden].
  struct Loss {
    Tensor loss, lse;
    float z_loss;
  };
  void forward(Context& ctx, const Weights& w, const Weights& embedding, const Batch& batch,
               Stream& stream, const Loss& loss) const;
  void forward_backward(Context& ctx, const Weights& w, const Weights& embedding,
                        const Gradients& g, const Gradients& g_embedding, const Batch& batch,
                        Stream& stream, const Loss& loss, Tensor d) const;
  /// Logits of the stream's last token, [1, V] in the compute type.
  void last_logits(Context& ctx, const Weights& w, const Weights& embedding, Stream& stream,
                   Tensor y) const;

  UnitId unit() const { return unit_; }

 private:
  /// The first row of the vocabulary that is this rank's.
  std::int64_t first_of_vocabulary() const { return vocab_ * tensor_.rank; }

  struct Chunk {
    std::int64_t begin, end;
  };
  std::int64_t chunk_rows(std::int64_t tokens) const;
  /// The norm's output of all tokens.
  ConstTensor enter(Context& ctx, const Weights& w, Stream& stream, StreamNorm::Saved& s) const;
  /// Logits of one chunk from its normed rows, and its loss; the gradient replaces the logits if
  /// `backward`.
  void chunk_loss(Context& ctx, ConstTensor weight, ConstTensor normed, const Batch& batch,
                  Chunk chunk, const Loss& loss, Tensor logits, bool backward) const;

  UnitId unit_;
  Group tensor_;
  TensorRegion region_;
  std::int64_t vocab_;  // of this rank
  StreamNorm norm_;
  bool tied_;
  ParamId weight_;
};

}  // namespace hg
