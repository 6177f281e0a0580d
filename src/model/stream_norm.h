// The residual stream, and the norm in front of each branch.
#pragma once

#include <optional>
#include <string>

#include "dist/param_store.h"
#include "model/config.h"
#include "model/keep.h"
#include "model/norm_gate.h"

namespace hg {

/// The residual stream between two norms: what was summed up, and the last branch's output, which
/// the next norm adds in its own pass over memory.
struct Stream {
  ConstTensor residual;  // [T, hidden]
  Tensor delta;          // [T, hidden]: where branches write
  Tensor spare;          // [T, hidden]: for sums that backward does not need
  bool pending = false;  // delta is still to be added
};

/// RMSNorm of residual + delta; the sum becomes the stream's residual. In comparison arms
/// (arXiv 2601.22966) a learned vector scales the norm's input, "PreAffine", and a low-rank gate
/// its output; the residual itself stays as it is.
class StreamNorm {
 public:
  struct Saved {
    ConstTensor sum;       // [T, hidden]: the stream behind the addition
    Tensor scaled;         // [T, hidden]: what is normed with PreAffine; else the sum is
    Tensor ungated, rstd;  // [T, hidden]; [T] f32
    NormGate::Saved gate;
    Tensor normed;  // [T, hidden]: the branch's input
  };

  StreamNorm(ParamStore& store, const ModelConfig& config, const std::string& prefix);

  /// The sum, if something is pending, is written to `sum`, which may be the residual itself.
  void forward(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
               Keep keep) const;
  /// d is the gradient of the sum: the norm's dx for dnormed, added to what d holds if it already
  /// holds what flows past the norm.
  void backward(Context& ctx, const Weights& w, const Gradients& g, ConstTensor dnormed,
                const Saved& s, bool holds_residual, Tensor d) const;

 private:
  /// PreAffine: adds what is pending, and makes s.scaled = sum * pre_affine.
  void add_and_scale(Context& ctx, const Weights& w, Stream& stream, Tensor sum, Saved& s,
                     Keep keep) const;

  float eps_;
  ParamId weight_, pre_affine_ = -1;
  bool has_pre_affine_;
  std::optional<NormGate> gate_;
};

}  // namespace hg
