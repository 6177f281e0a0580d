// From scores to weights, one block at a time. Scores are [key, query]; lanes are queries.
// Exponents are to base 2: scale and log2(e) are one factor. Only for files in ops/cpu/kernels.
#pragma once

#include <cmath>
#include <numbers>
#include <type_traits>

#include "ops/cpu/kernels/attention_vectors.h"

namespace hg {
namespace {

/// Starting value of a running maximum: less than any score, and finite, so that differences are
/// too.
inline constexpr float kLowest = -1e30F;

/// 2^x for x <= 0 and a little above, to 2 units in the last place; 2^-126 below -126; NaN stays
/// NaN.
HG_INLINE F32 exp2(F32 x) {
  // x = n + r with |r| <= 1/2. Adding kRound leaves n + 127 in the low bits: shifted up, they are
  // 2^n. The polynomial is the one of degree 5 through 1 at 0 with the least relative error, 9e-8.
  constexpr float kRound = 12582912.0F + 127.0F;  // 1.5 * 2^23, and the bias of the exponent
  const F32 t = max(splat(-126.0F), x);
  const F32 shifted = t + kRound;
  const F32 r = t - (shifted - kRound);
  F32 p = splat(1.326472731e-3F);
  p = p * r + 9.671512991e-3F;
  p = p * r + 5.550733581e-2F;
  p = p * r + 2.402224243e-1F;
  p = p * r + 6.931470037e-1F;
  p = p * r + 1.0F;
  return p * reinterpret_cast<F32>(reinterpret_cast<U32>(shifted) << 23);
}

/// Lanes whose query, from `query` on, sees `key`.
HG_INLINE I32 visible(std::int64_t query, std::int64_t key, Causal causal) {
  I32 lane{};
  for (std::int64_t i = 0; i < kLanes; ++i) lane[i] = static_cast<std::int32_t>(i);
  return lane >= static_cast<std::int32_t>(key + causal.shift - query);
}

/// Keys of a block as the vector of queries from `query` on sees them: the first `all` by every
/// lane, those from `some` on by none.
struct Visibility {
  std::int64_t all, some;
  Visibility(std::int64_t query, std::int64_t keys, Causal causal)
      : all(std::clamp(query - causal.shift + 1, std::int64_t{0}, keys)),
        some(std::clamp(query + kLanes - causal.shift, std::int64_t{0}, keys)) {}
};

/// P and dS of one key and a vector of queries.
struct WeightAndGradient {
  F32 p, ds;
};

/// `x` in the lanes of `mask`, zero elsewhere, whatever `x` holds there.
HG_INLINE F32 keep(I32 mask, F32 x) { return mask ? x : F32{}; }
HG_INLINE WeightAndGradient keep(I32 mask, const WeightAndGradient& x) {
  return {keep(mask, x.p), keep(mask, x.ds)};
}

/// Calls put(key, f(key), f(key + 1)) for key = 0, 2 ... below `padded`, zero standing for f where
/// a query does not see the key.
template <class F, class Put>
HG_INLINE void for_key_pairs(std::int64_t query, std::int64_t keys, std::int64_t padded,
                             Causal causal, F&& f, Put&& put) {
  using Value = std::invoke_result_t<F, std::int64_t>;
  const Visibility seen(query, keys, causal);
  std::int64_t key = 0;
  for (; key + 1 < seen.all; key += 2) put(key, f(key), f(key + 1));
  const auto masked = [&](std::int64_t i) {
    return i < seen.some ? keep(visible(query, i, causal), f(i)) : Value{};
  };
  for (; key < seen.some; key += 2) put(key, masked(key), masked(key + 1));
  for (; key < padded; key += 2) put(key, Value{}, Value{});
}

/// m[i, query] *= factors[query] for i < d.
inline void scale_columns(float* m, std::int64_t row, const float* factors, std::int64_t d,
                          std::int64_t queries) {
  for (std::int64_t i = 0; i < d; ++i, m += row) {
    for (std::int64_t query = 0; query < queries; query += kLanes) {
      store(m + query, load(m + query) * load(factors + query));
    }
  }
}

/// The online softmax of a block of queries: per query the running maximum of scale log2(e) score,
/// and the sum of 2^(that - maximum).
struct OnlineSoftmax {
  float *maximum, *sum;
  float* factor_of_output;  // room
  float factor;             // scale log2(e)

  void reset(std::int64_t queries) const {
    for (std::int64_t i = 0; i < queries; ++i) maximum[i] = kLowest, sum[i] = 0;
  }

  /// Takes in a block: `weights` from `scores`; the output so far, [d, query], is brought to the
  /// new maximum.
  template <class Products>
  void add(const float* scores, const typename Products::Weights& weights, float* output,
           std::int64_t d, std::int64_t keys, std::int64_t queries, Causal causal) const {
    constexpr std::int64_t kRow = Products::kRow;
    for (std::int64_t query = 0; query < Products::padded(queries); query += kLanes) {
      const float* column = scores + query;
      const F32 before = load(maximum + query);
      const F32 top = max(before, highest(column, kRow, query, keys, causal) * factor);
      F32 total{}, total2{};
      for_key_pairs(
          query, keys, Products::padded(keys), causal,
          [&](std::int64_t key) { return exp2(load(column + key * kRow) * factor - top); },
          [&](std::int64_t key, F32 first, F32 second) {
            total += first;
            total2 += second;
            weights.put(key, query, first, second);
          });
      const F32 shrink = exp2(before - top);
      store(maximum + query, top);
      store(sum + query, load(sum + query) * shrink + (total + total2));
      store(factor_of_output + query, shrink);
    }
    scale_columns(output, Products::kBlock, factor_of_output, d, queries);
  }

  /// Divides the output by the sums, and gives the natural logarithm of the denominators.
  void finish(float* output, std::int64_t row, float* lse, std::int64_t d,
              std::int64_t queries) const {
    for (std::int64_t i = 0; i < queries; ++i) {
      lse[i] = (maximum[i] + std::log2(sum[i])) * std::numbers::ln2_v<float>;
    }
    for (std::int64_t query = 0; query < queries; query += kLanes) {
      store(factor_of_output + query, 1.0F / load(sum + query));
    }
    scale_columns(output, row, factor_of_output, d, queries);
  }

 private:
  /// The highest score of each query.
  static F32 highest(const float* column, std::int64_t row, std::int64_t query, std::int64_t keys,
                     Causal causal) {
    const Visibility seen(query, keys, causal);
    F32 top[4] = {splat(kLowest), splat(kLowest), splat(kLowest), splat(kLowest)};
    std::int64_t key = 0;
    for (; key + 4 <= seen.all; key += 4) {
      for (std::int64_t i = 0; i < 4; ++i) top[i] = max(top[i], load(column + (key + i) * row));
    }
    for (; key < seen.some; ++key) {
      const F32 score = load(column + key * row);
      top[0] = max(top[0], visible(query, key, causal) ? score : splat(kLowest));
    }
    return max(max(top[0], top[1]), max(top[2], top[3]));
  }
};

/// P = 2^(factor score - log2 of the denominator) and dS = P (dP - delta) of a block.
template <class Products>
void softmax_backward(const float* scores, const float* dp, const typename Products::Weights& p,
                      const typename Products::Weights& ds, const float* denominator,
                      const float* delta, float factor, std::int64_t keys, std::int64_t queries,
                      Causal causal) {
  constexpr std::int64_t kRow = Products::kRow;
  for (std::int64_t query = 0; query < Products::padded(queries); query += kLanes) {
    const F32 log_sum = load(denominator + query), shift = load(delta + query);
    for_key_pairs(
        query, keys, Products::padded(keys), causal,
        [&](std::int64_t key) {
          const std::int64_t at = key * kRow + query;
          const F32 weight = exp2(load(scores + at) * factor - log_sum);
          return WeightAndGradient{weight, weight * (load(dp + at) - shift)};
        },
        [&](std::int64_t key, const WeightAndGradient& first, const WeightAndGradient& second) {
          p.put(key, query, first.p, second.p);
          ds.put(key, query, first.ds, second.ds);
        });
  }
}

}  // namespace
}  // namespace hg
