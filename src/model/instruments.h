// What one look at a forward pass records: gate scores, attention sinks, massive activations, loads
// of experts, layer by layer. Results are small tensors, which the host reads behind the step.
// docs/metrics.md defines every number.
#pragma once

#include <vector>

#include "core/batch.h"
#include "core/context.h"
#include "model/config.h"
#include "model/instrument_join.h"
#include "ops/gate.h"

namespace hg {

/// An attention layer's forward pass, as instruments see it.
struct AttentionView {
  ConstTensor q, k, lse;   // of attention: [T, KV, G, D], [S, KV, 1, D], [KV, G, T]
  float scale;             // of q . k
  ConstTensor logits;      // of the gate, as GateForward takes them; absent without a gate
  GateFunction function;   // what makes scores of them
  ConstTensor sdpa;        // the attention output, [T, KV, G, D]
  ConstTensor gated_from;  // what is gated, [T, KV, G, D]; absent without a gate
  ConstTensor gated;       // behind the gate
};

/// What the router of a layer did in one micro-batch, as instruments see it.
struct RouterView {
  ConstTensor counts;            // [S, E] i32, as RouterForward gives them
  ConstTensor probability_sums;  // [S, E] f32
  ConstTensor statistics;        // [RouterForward::kStatistics] f32
  ConstTensor dropped;           // [1] i32, as ExpertPlan
};

/// A branch of a block, as it is added to the residual stream.
enum class Branch { attention, mlp };

/// What instruments record beyond what they always do.
struct InstrumentOptions {
  std::vector<std::int64_t> maps = {};  ///< layers to keep attention maps of: T^2 for each head
};

/// What is kept of a RouterView: sums over its S documents.
struct RouterRecord {
  Tensor loads;             // [E] i32
  Tensor probability_sums;  // [E] f32
  Tensor statistics;        // [RouterForward::kStatistics] f32
  Tensor dropped;           // [1] i32
  std::int64_t top_k = 0;   // choices of a token

  explicit operator bool() const { return static_cast<bool>(loads); }
  /// The same as of one document.
  RouterView view() const;
};

class Instruments {
 public:
  struct Layer {
    // As GateScores gives them; absent without a gate.
    Tensor gate_heads, gate_histogram, gate_tokens;
    // As FirstTokenShare and AttentionEntropy.
    Tensor first_token, entropy;
    // As Magnitudes, [kStatistics]: the attention output, what is gated and what becomes of it
    // (absent without a gate), what each branch adds, and the stream behind each addition.
    Tensor sdpa, gated_from, gated;
    Tensor branch[2], stream[2];
    // As AttentionMap; absent unless asked for.
    Tensor map;
    // Of the router; absent in a dense layer.
    RouterRecord router;
  };

  /// Room for the results of one micro-batch of `tokens`, which the ranks of the mesh's context and
  /// tensor axes share; with stages, of all layers. Throws if a layer in the options is none, and
  /// on maps if ranks share any.
  Instruments(const ModelConfig& config, std::int64_t tokens, Arena& arena,
              const InstrumentOptions& options = {}, const Mesh& mesh = {});

  // See LayerInstruments. Ranks that share the micro-batch all look, and all record the whole.
  void see_attention(Context& ctx, std::size_t layer, const Batch& batch,
                     const AttentionView& view) const;
  void see_branch(Context& ctx, std::size_t layer, Branch branch, ConstTensor residual,
                  ConstTensor output) const;
  void see_router(Context& ctx, std::size_t layer, const RouterView& view) const;

  /// What pipeline stages have seen of their layers, for all of them. Collective.
  void gather_stages();

  /// From a GPU, where passes leave what they see, to where the host can read it.
  void fetch(const Context& ctx);
  /// For the host to read; after fetch.
  const std::vector<Layer>& layers() const { return fetched_.empty() ? layers_ : fetched_; }

 private:
  InstrumentJoin join_;
  Group stages_;
  int chunks_;  // of each stage
  std::vector<Layer> layers_;
  std::vector<Layer> fetched_;     // the same in memory of the host; none on the processor
  std::vector<std::byte> memory_;  // of fetched_
};

/// The instruments of one layer; empty if nobody looks.
class LayerInstruments {
 public:
  LayerInstruments() = default;
  LayerInstruments(const Instruments* all, std::size_t layer) : all_(all), layer_(layer) {}

  explicit operator bool() const { return all_ != nullptr; }
  // A block's forward calls these, attention first.
  void see_attention(Context& ctx, const Batch& batch, const AttentionView& view) const {
    all_->see_attention(ctx, layer_, batch, view);
  }
  /// residual and output are [T, hidden]; the stream behind the addition is their sum.
  void see_branch(Context& ctx, Branch branch, ConstTensor residual, ConstTensor output) const {
    all_->see_branch(ctx, layer_, branch, residual, output);
  }
  /// A layer of experts calls this from its forward.
  void see_router(Context& ctx, const RouterView& view) const {
    all_->see_router(ctx, layer_, view);
  }

 private:
  const Instruments* all_ = nullptr;
  std::size_t layer_ = 0;
};

}  // namespace hg
