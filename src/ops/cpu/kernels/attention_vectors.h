// Products of one block in f32, on vectors. Only for files in ops/cpu/kernels.
//
// Scores lie transposed, [key, query]: vectors run over queries, so that the maximum and the sum
// over keys are lane by lane, and keys and values, in whichever role, are only ever read as single
// elements that multiply a whole vector. Nothing but the queries is transposed, once per block of
// queries.
#pragma once

#include "ops/cpu/attention_scratch.h"
#include "ops/cpu/kernels/attention_pack.h"
#include "ops/cpu/kernels/attention_slices.h"

namespace hg {
namespace {

/// How far a block of keys reaches past the queries: key i is seen by query j if j >= i + shift.
struct Causal {
  std::int64_t shift;
};

/// A left factor, element (m, k) at data[m * row + k * depth].
struct Left {
  const float* data;
  std::int64_t row, depth;
};

// Sums held in registers: with the vectors of the right factor and one of the left they must fit
// into 32 (AVX-512) or 16 (AVX2) registers.
inline constexpr int kStripRows = kIsa == Isa::avx512 ? 8 : 6;
inline constexpr int kStripVectors = 2;

/// c[0:R, 0:V vectors] (+)= a b over `depth` terms.
template <int R, int V, bool accumulate>
void multiply_strip(Left a, const float* b, std::int64_t b_row, float* c, std::int64_t c_row,
                    std::int64_t depth) {
  F32 sum[R][V]{};
  for (std::int64_t k = 0; k < depth; ++k) {
    F32 right[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) right[v] = load(b + k * b_row + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float left = a.data[r * a.row + k * a.depth];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      float* to = c + r * c_row + v * kLanes;
      store(to, accumulate ? load(to) + sum[r][v] : sum[r][v]);
    }
  }
}

/// multiply_strip for the rows that are left, at most R.
template <int V, bool accumulate, int R = kStripRows>
void multiply_rows(std::int64_t rows, Left a, const float* b, std::int64_t b_row, float* c,
                   std::int64_t c_row, std::int64_t depth) {
  if constexpr (R > 1) {
    if (rows < R) return multiply_rows<V, accumulate, R - 1>(rows, a, b, b_row, c, c_row, depth);
  }
  multiply_strip<R, V, accumulate>(a, b, b_row, c, c_row, depth);
}

/// c[m, n] (+)= sum over k of a[m, k] b[k, n]; `needed(m, n, columns)` is the range of k that
/// counts for row m on and columns [n, n + columns), nothing where it is empty.
template <bool accumulate, class Needed>
void multiply(std::int64_t rows, std::int64_t columns, const Left& a, const float* b,
              std::int64_t b_row, float* c, std::int64_t c_row, Needed&& needed) {
  constexpr std::int64_t kWide = kStripVectors * kLanes;
  for (std::int64_t n = 0; n < columns; n += kWide) {
    const bool wide = n + kLanes < columns;
    for (std::int64_t m = 0; m < rows; m += kStripRows) {
      const Range k = needed(m, n, wide ? kWide : kLanes);
      if (k.size() <= 0) continue;
      const Left strip{a.data + m * a.row + k.begin * a.depth, a.row, a.depth};
      const float* right = b + k.begin * b_row + n;
      float* to = c + m * c_row + n;
      if (wide) {
        multiply_rows<kStripVectors, accumulate>(rows - m, strip, right, b_row, to, c_row,
                                                 k.size());
      } else {
        multiply_rows<1, accumulate>(rows - m, strip, right, b_row, to, c_row, k.size());
      }
    }
  }
}

/// The block products of attention; attention_tile_products.h has the same members.
class VectorProducts {
 public:
  using Element = float;  ///< of packed operands
  static constexpr std::int64_t kBlock = 64;
  static constexpr std::int64_t kRow = kBlock;  ///< of scores

  explicit VectorProducts(std::int64_t d) : d_(d), width_(width(d)) {}

  /// Row length of packed operands.
  static std::int64_t width(std::int64_t d) { return padded_head(d); }
  static std::int64_t padded(std::int64_t tokens) { return round_up(tokens, kLanes); }

  /// Packed rows as each factor needs them; `to` is room to make them in.
  static std::int64_t factor_size(std::int64_t) { return 0; }
  const float* by_head(const float* rows, float*, std::int64_t) const { return rows; }
  const float* by_token(const float* rows, float*, std::int64_t) const { return rows; }

  /// Weights P or dS of a block, [key, query]: they take the place of the scores.
  struct Weights {
    float* data;
    HG_INLINE void put(std::int64_t key, std::int64_t query, F32 first, F32 second) const {
      store(data + key * kBlock + query, first);
      store(data + (key + 1) * kBlock + query, second);
    }
  };
  enum class Use { forward, probabilities, gradients };
  Weights weights(float* scores, Use, ScratchCutter&) const { return {scores}; }

  /// scores[key, query] = rows . columns, where the query sees the key.
  void scores(float* to, const float* rows, const float* columns, std::int64_t keys,
              std::int64_t queries, Causal causal) const {
    multiply<false>(keys, padded(queries), {rows, width_, 1}, columns, kBlock, to, kBlock,
                    [&](std::int64_t m, std::int64_t n, std::int64_t wide) {
                      return Range{0, n + wide > m + causal.shift ? d_ : 0};
                    });
  }
  /// to[d, query] += sum over the keys that the query sees of rows[key, d] weights[key, query].
  void add_to_queries(float* to, const float* by_head, Weights w, std::int64_t keys,
                      std::int64_t queries, Causal causal) const {
    multiply<true>(d_, padded(queries), {by_head, 1, width_}, w.data, kBlock, to, kBlock,
                   [&](std::int64_t, std::int64_t n, std::int64_t wide) {
                     return Range{0, std::min(keys, n + wide - causal.shift)};
                   });
  }
  /// to[key, d] += sum over the queries that see the key of weights[key, query] rows[query, d].
  void add_to_keys(float* to, Weights w, const float* by_token, std::int64_t keys,
                   std::int64_t queries, Causal causal) const {
    multiply<true>(keys, round_up(d_, kLanes), {w.data, kBlock, 1}, by_token, width_, to, width_,
                   [&](std::int64_t m, std::int64_t, std::int64_t) {
                     return Range{std::max(m + causal.shift, std::int64_t{0}), queries};
                   });
  }

 private:
  std::int64_t d_, width_;
};

}  // namespace
}  // namespace hg
