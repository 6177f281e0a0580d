// What one look at a forward pass records: gate scores, attention sinks, massive activations, layer
// by layer. Results are small f32 tensors; the host reads them behind the step. docs/metrics.md
// defines every number.
#pragma once

#include <vector>

#include "core/batch.h"
#include "core/context.h"
#include "model/config.h"
#include "ops/gate.h"

namespace hg {

/// An attention layer's forward pass as instruments see it.
struct AttentionView {
  ConstTensor q, k, lse;    // what attention took, [T, KV, G, D] and [T, KV, 1, D]; [KV, G, T]
  float scale;              // of q . k
  ConstTensor logits;       // of the gate, as GateForward takes them; absent without a gate
  GateFunction function;    // what makes scores of them
  ConstTensor before;       // what is gated, [T, KV, G, D]; without a gate the attention output
  ConstTensor after;        // behind the gate; absent without one
};

class Instruments {
 public:
  struct Layer {
    Tensor gate_heads;      // as GateScores gives them; absent without a gate
    Tensor gate_histogram;
    Tensor gate_tokens;     // [T]
    Tensor first_token;     // as FirstTokenShare
    Tensor entropy;         // as AttentionEntropy
    // As Magnitudes, [kStatistics]:
    Tensor before, after;                // the gate
    Tensor attention_branch, ffn_branch; // what is added to the residual stream
    Tensor attention_stream, ffn_stream; // the residual stream behind each addition
  };

  /// Room for the results of a model, for micro-batches of `tokens`.
  Instruments(const ModelConfig& config, std::int64_t tokens, Arena& arena);

  // Called by a block's forward, in this order, for each layer.
  void see_attention(Context& ctx, int layer, const Batch& batch, const AttentionView& view) const;
  void see_attention_branch(Context& ctx, int layer, ConstTensor branch, ConstTensor stream) const;
  void see_ffn_branch(Context& ctx, int layer, ConstTensor branch) const;
  /// The layer's output: the stream that the next layer, or the head, makes of it.
  void see_output(Context& ctx, int layer, ConstTensor stream) const;

  const std::vector<Layer>& layers() const { return layers_; }

 private:
  std::vector<Layer> layers_;
};

}  // namespace hg
