// What the router computes of one token, in whole vectors: a row is padded behind the last expert.
// Only for files in ops/cpu/kernels.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "ops/cpu/simd.h"
#include "ops/route.h"

namespace hg {
namespace {

inline constexpr float kTinySum = 1e-20F;  // so that scores that all vanish can be divided by it

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// A value for each expert, and for those that fill the last vector.
struct alignas(64) RouterRow {
  std::array<float, kMaxExperts> values;  // not initialised

  float* data() { return values.data(); }
  const float* data() const { return values.data(); }
  float& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
};

/// Calls fn(i) for every vector of a row of `experts`.
template <class Fn>
HG_INLINE void for_vectors(std::int64_t experts, Fn&& fn) {
  for (std::int64_t i = 0; i < experts; i += kLanes) fn(i);
}

/// row = from, and `padding` behind it.
HG_INLINE void copy_row(RouterRow& row, const float* from, std::int64_t experts, float padding) {
  const std::int64_t end = (experts + kLanes - 1) / kLanes * kLanes;
  std::copy_n(from, experts, row.data());
  std::fill(row.data() + experts, row.data() + end, padding);
}

/// Where the largest value stands; the first place if there are several.
HG_INLINE std::int64_t argmax(const RouterRow& row, std::int64_t experts) {
  F32 lane;
  for (std::int64_t i = 0; i < kLanes; ++i) lane[i] = static_cast<float>(i);
  F32 best = splat(kMinusInfinity), place = lane;
  for_vectors(experts, [&](std::int64_t i) {
    const F32 value = load(row.data() + i);
    place = value > best ? lane + static_cast<float>(i) : place;
    best = max(best, value);
  });
  const F32 top = splat(reduce_max(best));
  const F32 before = best == top ? -place : splat(-static_cast<float>(kMaxExperts));
  return static_cast<std::int64_t>(-reduce_max(before));
}

/// What a token's logits become.
struct RouterToken {
  RouterRow softmax, sigmoid;  // 0 behind the last expert; sigmoid only if that is the score
  const RouterRow* scores;     // one of the two
  float lse;                   // of the logits
  float score_sum;             // over all experts; probabilities are scores / score_sum

  RouterToken(const float* logits, std::int64_t experts, RouterScore score) {
    copy_row(softmax, logits, experts, kMinusInfinity);
    apply_softmax(experts);
    scores = &softmax;
    score_sum = 1;
    if (score == RouterScore::softmax) return;
    scores = &sigmoid;
    F32 sum{};
    for_lanes(experts, [&](std::int64_t i, auto lanes) {
      store(sigmoid.data() + i, F32{});
      store(sigmoid.data() + i, hg::sigmoid(load(logits + i, lanes)), lanes);
      sum += load(sigmoid.data() + i);
    });
    score_sum = reduce_add(sum);
  }
  RouterToken(const RouterToken&) = delete;
  RouterToken& operator=(const RouterToken&) = delete;

 private:
  void apply_softmax(std::int64_t experts) {
    F32 largest = splat(kMinusInfinity), sum{};
    for_vectors(experts, [&](std::int64_t i) { largest = max(largest, load(softmax.data() + i)); });
    const float top = reduce_max(largest);
    for_vectors(experts, [&](std::int64_t i) {
      const F32 value = exp(load(softmax.data() + i) - top);
      store(softmax.data() + i, value);
      sum += value;
    });
    const float total = reduce_add(sum);
    for_vectors(experts, [&](std::int64_t i) {
      store(softmax.data() + i, load(softmax.data() + i) * (1 / total));
    });
    lse = top + std::log(total);
  }
};

}  // namespace
}  // namespace hg
