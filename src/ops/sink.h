// Attention sinks: one more logit in every softmax, without a value, so that a head may attend to
// nothing. Learned, one for each head, they are those of gpt-oss (arXiv 2508.10925); fixed at 0,
// softmax is Miller's "off by one" (2023). A correction behind ops/attention.h, which stays as it
// is.
#pragma once

#include "ops/op.h"

namespace hg {

/// With b the head's sink:  lse' = log(e^lse + e^b),  o' = o e^(lse - lse'),  both in place: then
/// o' is attention with weights e^s / (sum of e^s + e^b), and AttentionBackward takes o' and lse'.
struct SinkForward {
  static constexpr std::string_view name = "sink_forward";
  Tensor o;           // [T, KV, G, D], a slice
  Tensor lse;         // [KV, G, T] f32
  ConstTensor sinks;  // [KV, G]; absent: all 0

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
};

/// dsinks (+)= -sum over t of e^(b - lse'[t]) (do[t] . o'[t]).
struct SinkBackward {
  static constexpr std::string_view name = "sink_backward";
  Tensor dsinks;       // [KV, G] f32
  ConstTensor d_o, o;  // [T, KV, G, D], slices; o as SinkForward leaves it
  ConstTensor lse;     // [KV, G, T] f32, likewise
  ConstTensor sinks;   // [KV, G]
  bool accumulate;     // dsinks

  void check() const;
  Cost cost() const;
  void cpu(Context& ctx) const;
  /// Partial sums, [pieces, KV G] f32.
  Tensor scratch(Context& ctx) const;
  static constexpr std::int64_t kTokensPerPiece = 64;
};

}  // namespace hg
