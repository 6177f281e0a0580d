// Gated self-attention: fused projection, QK-norm and RoPE, causal attention, output gate, output
// projection. The gate's logits come from the pre-normalised hidden state, as q, k and v do.
#pragma once

#include <string>

#include "core/batch.h"
#include "dist/param_store.h"
#include "model/config.h"
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
  AnyTensor gate;     // [T, KV, G, E] with E = D or 1; absent without a gate
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
    Tensor o, lse, gated;
  };

  /// Declares the parameters in the store's current unit.
  Attention(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// y = attention(x); x is [T, hidden], normalised. An absent y leaves out the output projection.
  void forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
               ConstTensor x, Tensor y, Saved& s, Keep keep) const;
  /// dx from dy, and the weights' gradients.
  void backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                const RopeTable& rope, ConstTensor dy, ConstTensor x, const Saved& s,
                Tensor dx) const;
  /// Forward of the tokens at positions `first`, first + 1, ... of one document whose earlier keys
  /// and values are in the cache; theirs are added.
  void decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
              const RopeTable& rope, ConstTensor x, Tensor y, const KeyValueCache& cache) const;

 private:
  std::int64_t group_width() const { return (group_ + 2) * d_ + group_ * gate_; }
  template <class AnyTensor>
  QkvgParts<AnyTensor> parts(const AnyTensor& qkvg) const;
  void rotate(Context& ctx, const Weights& w, ConstTensor positions, const RopeTable& rope,
              const QkvgParts<ConstTensor>& from, const Saved& s) const;

  std::int64_t kv_, group_, d_, gate_;  // KV heads, query heads of each, head width, gate width
  float eps_, scale_;
  bool qk_norm_;
  ParamId qkvg_, q_norm_ = -1, k_norm_ = -1, out_;
};

}  // namespace hg
