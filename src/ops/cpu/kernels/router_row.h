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
  // Not initialised. Longer than a page: the processor takes addresses a page apart for the same
  // until it has compared them in full.
  std::array<float, kMaxExperts + 16> values;

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
  for_lanes(experts, [&](std::int64_t i, auto lanes) {
    store(row.data() + i, live(lanes) ? load(from + i, lanes) : splat(padding));
  });
}

/// Takes the largest value out of a row, the first if there are several, and returns its place.
HG_INLINE std::int64_t take_largest(RouterRow& row, std::int64_t experts) {
  const F32 lane = __builtin_convertvector(lane_numbers(), F32);
  F32 best = splat(kMinusInfinity), place = lane;
  for_vectors(experts, [&](std::int64_t i) {
    const F32 value = load(row.data() + i);
    place = value > best ? lane + static_cast<float>(i) : place;
    best = max(best, value);
  });
  const F32 top = splat(reduce_max(best));
  const F32 before = best == top ? -place : splat(-static_cast<float>(kMaxExperts));
  const auto result = static_cast<std::int64_t>(-reduce_max(before));
  // The whole vector is stored: the next search loads it whole, and would wait for one element.
  float* vector = row.data() + result / kLanes * kLanes;
  const F32 taken = splat(static_cast<float>(result % kLanes));
  store(vector, lane == taken ? splat(kMinusInfinity) : load(vector));
  return result;
}

/// What a token's logits become.
struct RouterToken {
  RouterRow softmax, sigmoid;  // 0 behind the last expert; sigmoid only if that is the score
  const RouterRow* scores;     // one of the two
  float lse;                   // of the logits
  float score_sum;             // over all experts; probabilities are scores / score_sum

  RouterToken() = default;
  RouterToken(const RouterToken&) = delete;
  RouterToken& operator=(const RouterToken&) = delete;

  void compute(const float* logits, std::int64_t experts, RouterScore score) {
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
