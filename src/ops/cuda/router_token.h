// What a warp computes of a token of the router, and the pieces of documents. Lane l holds the
// experts l, l + 32, l + 64, ...
#pragma once

#include "ops/cuda/prefix.h"
#include "ops/cuda/vectors.h"
#include "ops/route.h"

namespace hg {

inline constexpr float kTinySum = 1e-20F;  // so that scores that all vanish can be divided by it

HG_DEVICE float warp_max(float x) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, lanes));
  }
  return x;
}

/// A token's logits and scores for up to 32 n experts; behind the last expert: -inf and 0.
template <int n>
struct RouterToken {
  float logits[n], softmax[n];
  float scores[n];  // softmax, or logistic
  float lse;        // of the logits
  float score_sum;  // over all experts; probabilities are scores / score_sum

  HG_DEVICE RouterToken(const float* its_logits, int experts, RouterScore score) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float top = -INFINITY, sum = 0;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      const int e = lane + 32 * j;
      logits[j] = e < experts ? its_logits[e] : -INFINITY;
      top = fmaxf(top, logits[j]);
    }
    top = warp_max(top);
#pragma unroll
    for (int j = 0; j < n; ++j) {
      softmax[j] = expf(logits[j] - top);
      sum += softmax[j];
    }
    sum = warp_sum(sum);
    lse = top + logf(sum);
#pragma unroll
    for (int j = 0; j < n; ++j) scores[j] = softmax[j] = softmax[j] * (1 / sum);
    score_sum = 1;
    if (score == RouterScore::softmax) return;
    sum = 0;
#pragma unroll
    for (int j = 0; j < n; ++j) {
      scores[j] = 1 / (1 + expf(-logits[j]));  // 0 for -inf
      sum += scores[j];
    }
    score_sum = warp_sum(sum);
  }
};

/// The bounds of documents, or of one that holds all tokens. Document d has the pieces
/// [first_piece(d), first_piece(d + 1)), of which the last may be empty.
struct RouterDocuments {
  const int* bounds;  // [count + 1], or null
  int count;
  std::int64_t tokens;

  HG_DEVICE std::int64_t bound(int d) const {
    return bounds != nullptr ? bounds[d] : d > 0 ? tokens : 0;
  }
  HG_DEVICE std::int64_t first_piece(int d) const {
    return bound(d) / RouterForward::kTokensPerPiece + d;
  }
  /// The last document that begins at or before a token.
  HG_DEVICE int document_of(std::int64_t token) const {
    return group_of(token, count, [&](int d) { return bound(d); });
  }
  HG_DEVICE int document_of_piece(std::int64_t piece) const {
    return group_of(piece, count, [&](int d) { return first_piece(d); });
  }
};

inline RouterDocuments documents_of(const ConstTensor& documents, std::int64_t tokens) {
  if (!documents) return {nullptr, 1, tokens};
  return {documents.as<std::int32_t>(), static_cast<int>(documents.dim(0) - 1), tokens};
}

/// Calls fn.operator()<n>() with the smallest n for which 32 n lanes hold a value for each expert.
template <class Fn>
void for_values_per_lane(std::int64_t experts, Fn&& fn) {
  if (experts <= 32) return fn.template operator()<1>();
  if (experts <= 64) return fn.template operator()<2>();
  if (experts <= 128) return fn.template operator()<4>();
  if (experts <= 256) return fn.template operator()<8>();
  if (experts <= 512) return fn.template operator()<16>();
  fn.template operator()<32>();
}

}  // namespace hg
