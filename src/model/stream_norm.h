// The residual stream, and the norm in front of each branch.
#pragma once

#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/keep.h"

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

}  // namespace hg
