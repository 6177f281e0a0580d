// One decoder block, pre-norm: attention and MLP, each behind an RMSNorm, each added to the
// residual.
#pragma once

#include "model/attention.h"
#include "model/mlp.h"

namespace hg {

/// The residual stream between two norms: what was summed up, and the last branch's output, which
/// the next norm adds in its own pass over memory.
struct Stream {
  ConstTensor residual;  // [T, hidden]
  Tensor delta;          // [T, hidden]: where branches write
  Tensor spare;          // [T, hidden]: for sums that backward does not need
  bool pending = false;  // delta is still to be added
};

/// RMSNorm of residual + delta; the sum becomes the stream's residual.
class StreamNorm {
 public:
  struct Saved {
    ConstTensor sum;      // [T, hidden]: the stream behind the addition
    Tensor normed, rstd;  // [T, hidden], [T] f32
  };

  StreamNorm(ParamStore& store, const ModelConfig& config, const std::string& name);

  /// The sum, if something is pending, is written to `sum`, which may be the residual itself.
  void forward(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
               Keep keep) const;
  /// d = dresidual + the norm's dx for dnormed: both flow into the sum. dresidual may be d, or
  /// absent.
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dnormed,
                const Saved& s, ConstTensor dresidual, Tensor d) const;

 private:
  float eps_;
  ParamId weight_;
};

class Block {
 public:
  struct Saved {
    StreamNorm::Saved attention_norm, mlp_norm;
    Attention::Saved attention;
    Mlp::Saved mlp;
  };

  /// Begins a unit of the store and declares its parameters.
  Block(ParamStore& store, const ModelConfig& config, const std::string& name);

  void forward(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
               Stream& stream, Saved& s, Keep keep) const;
  /// d holds the gradient of the stream behind the block, and then of the stream before it.
  void backward(Context& ctx, const Weights& w, const Gradients& g, const Batch& batch,
                const RopeTable& rope, Saved& s, Recompute recompute, Tensor d) const;
  /// Forward of new tokens of one document; see Attention::decode.
  void decode(Context& ctx, const Weights& w, ConstTensor positions, std::int64_t first,
              const RopeTable& rope, Stream& stream, const KeyValueCache& cache) const;

  UnitId unit() const { return unit_; }

 private:
  void make_again(Context& ctx, const Weights& w, const Batch& batch, const RopeTable& rope,
                  Saved& s, Recompute recompute) const;

  UnitId unit_;
  StreamNorm attention_norm_;
  Attention attention_;
  StreamNorm mlp_norm_;
  Mlp mlp_;
};

}  // namespace hg
