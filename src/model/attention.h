// Gated self-attention: fused projection, QK-norm and RoPE, causal attention, output projection,
// and a gate at any of these places.
#pragma once

#include <string>

#include "core/batch.h"
#include "dist/param_store.h"
#include "model/config.h"
#include "model/context_region.h"
#include "model/gate.h"
#include "model/instruments.h"
#include "model/keep.h"

namespace hg {

/// cos and sin for every position, made once per run.
struct RopeTable {
  Tensor cos, sin;  // [P, R/2] f32
};

/// The fused projection, [T, W], seen as its parts. Its rows are laid out per key/value head as
/// [G query heads | key | value | gate logits], so that a split over heads is one range of rows.
template <class AnyTensor>
struct QkvgParts {
  AnyTensor q, k, v;  // [T, KV, G, D], [T, KV, 1, D], [T, KV, 1, D]
  AnyTensor gate;     // [T, KV, G or 1, E]; absent if the gate has no columns here
};

/// Keys and values of the tokens so far, for generation.
struct KeyValueCache {
  Tensor k, v;  // [P, KV, 1, D]
};

class Attention {
 public:
  struct Saved {
    Tensor qkvg;                  // [T, W]
    Tensor q, k, q_rstd, k_rstd;  // behind norm and RoPE
    Tensor keys_and_values;       // of all tokens, where ranks share them
    Tensor o, lse;                // behind attention and sink
    Tensor normed, o_rstd;        // o behind the norm of heads, if there is one
    Tensor ungated;               // [T, hidden], where the gate stands on the layer's output
    AttentionGate::Saved gate;
  };

  /// Declares the parameters in the store's current unit.
  Attention(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// y = attention(x); x is [T, hidden], normalised. An absent y leaves out the output projection.
  void forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
               ConstTensor x, Tensor y, Saved& s, Keep keep) const;
  /// What forward of x has just computed, for instruments.
  AttentionView view(const Weights& w, ConstTensor x, const Saved& s) const;
  /// dx from dy, and the weights' gradients.
  void backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                const RopeTable& rope, ConstTensor dy, ConstTensor x, const Saved& s,
                Tensor dx) const;
  /// Forward of the tokens at positions `first`, first + 1, ... of one document whose earlier keys
  /// and values are in the cache; theirs are added.
  void decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
              const RopeTable& rope, ConstTensor x, Tensor y, const KeyValueCache& cache) const;

 private:
  /// What goes into attention.
  struct Heads {
    ConstTensor q, k, v;  // [T, KV, G, D], [T, KV, 1, D], [T, KV, 1, D]
  };
  std::int64_t group_width() const { return (group_ + 2) * d_ + gate_.fused_width(); }
  Shape flat(std::int64_t tokens) const { return {tokens, kv_ * group_ * d_}; }
  template <class AnyTensor>
  QkvgParts<AnyTensor> parts(const AnyTensor& qkvg) const;
  /// The state behind the gate, if this is where it stands; `state` itself if not.
  ConstTensor gated(GatePosition position, ConstTensor state, const Saved& s) const {
    return gate_.stands_at(position) ? ConstTensor(s.gate.gated) : state;
  }
  /// What queries see: keys and values of all tokens.
  KeysAndValues<ConstTensor> seen(const Saved& s) const;
  ConstTensor attention_output(const Saved& s) const { return output_norm_ ? s.normed : s.o; }
  /// The learned logits, [KV, G]; absent if there are none.
  ConstTensor sinks(const Weights& w) const {
    return sink_ == Sink::learned ? w[sinks_].view({kv_, group_}) : ConstTensor{};
  }

  // Forward: all before attention, and all behind it.
  Heads project(Context& ctx, const Weights& w, ConstTensor positions, const RopeTable& rope,
                ConstTensor x, Saved& s, Keep keep) const;
  void finish(Context& ctx, const Weights& w, ConstTensor x, Tensor y, Saved& s, Keep keep) const;

  std::int64_t kv_, group_, d_;  // KV heads, query heads of each, head width
  float eps_, scale_;
  ContextRegion region_;
  bool qk_norm_, output_norm_;
  Sink sink_;
  AttentionGate gate_;
  ParamId qkvg_, q_norm_ = -1, k_norm_ = -1, o_norm_ = -1, sinks_ = -1, out_;
};

}  // namespace hg
