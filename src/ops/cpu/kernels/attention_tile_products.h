// Products of one block in bf16 with f32 sums, on matrix tiles. Only for files in ops/cpu/kernels.
//
// A tile product takes its left factor as rows and its right factor in pairs: [k / 2, n], two
// elements that follow each other along k side by side. Seen as 32-bit words, a transposed block of
// rows has that form already.
#pragma once

#include <utility>

#include "ops/cpu/kernels/attention_vectors.h"
#include "ops/cpu/kernels/tiles.h"

namespace hg {
namespace {

/// (first[0], second[0], first[1], second[1] ...): two rows of bf16 as one of pairs.
template <std::size_t... i>
HG_INLINE U16Pair interleave(U16 first, U16 second, std::index_sequence<i...>) {
  return __builtin_shufflevector(first, second, (i / 2 + i % 2 * kLanes)...);
}
HG_INLINE U16Pair interleave(U16 first, U16 second) {
  return interleave(first, second, std::make_index_sequence<2 * kLanes>{});
}

/// Row i of `to` = rows 2 i and 2 i + 1 of a block in pairs. Rows from `tokens` to `padded` count
/// as zero, whatever they hold.
inline void pair_rows(bf16* to, const bf16* rows, std::int64_t tokens, std::int64_t padded,
                      std::int64_t width) {
  const auto row_part = [&](std::int64_t i, std::int64_t j) {
    U16 x{};
    if (i < tokens) std::memcpy(&x, rows + i * width + j, sizeof(x));
    return x;
  };
  for (std::int64_t i = 0; i < padded; i += 2, to += 2 * width) {
    for (std::int64_t j = 0; j < width; j += kLanes) {
      const U16Pair pairs = interleave(row_part(i, j), row_part(i + 1, j));
      std::memcpy(to + 2 * j, &pairs, sizeof(pairs));
    }
  }
}

/// The members that attention_vectors.h describes, on `Tiles`.
template <class Tiles>
class TileProducts {
 public:
  using Element = bf16;
  static constexpr std::int64_t kBlock = kMaxAttentionBlock;
  // Of scores; not a power of two, so that a column of them stays in the cache.
  static constexpr std::int64_t kRow = kBlock + kLanes;
  static constexpr std::int64_t kPatch = 32;  // rows and columns of four tiles of sums

  explicit TileProducts(std::int64_t d) : d_(d) {}

  static std::int64_t width(std::int64_t d) { return d; }
  static std::int64_t padded(std::int64_t tokens) { return round_up(tokens, kPatch); }

  std::int64_t factor_size(std::int64_t tokens) const { return 2 * tokens * d_; }
  const bf16* by_token(const bf16* rows, bf16* room, std::int64_t tokens) const {
    pair_rows(room, rows, tokens, padded(tokens), d_);
    return room;
  }
  const bf16* by_head(const bf16* rows, bf16* room, std::int64_t tokens) const {
    bf16* pairs = room + kBlock * d_;
    pair_rows(pairs, rows, tokens, padded(tokens), d_);
    transpose(floats(room), kBlock / 2, floats(pairs), d_, padded(tokens) / 2, d_);
    return room;
  }

  /// Weights as a left factor, rows [key, query], and as a right one, pairs [key / 2, query].
  struct Weights {
    bf16* rows;
    std::uint32_t* pairs;
    HG_INLINE void put(std::int64_t key, std::int64_t query, F32 first, F32 second) const {
      const auto [first_half, second_half] = Tiles::to_bf16(first, second);
      if (rows != nullptr) {
        std::memcpy(rows + key * kBlock + query, &first_half, sizeof(first_half));
        std::memcpy(rows + (key + 1) * kBlock + query, &second_half, sizeof(second_half));
      }
      if (pairs != nullptr) {
        const U16Pair mixed = interleave(first_half, second_half);
        std::memcpy(pairs + key / 2 * kBlock + query, &mixed, sizeof(mixed));
      }
    }
  };
  enum class Use { forward, probabilities, gradients };
  Weights weights(float*, Use use, ScratchCutter& scratch) const {
    return {.rows = use == Use::forward ? nullptr : scratch.take<bf16>(kBlock * kBlock),
            .pairs = use == Use::probabilities ? nullptr
                                               : scratch.take<std::uint32_t>(kBlock * kBlock / 2)};
  }

  void scores(float* to, const bf16* rows, const float* columns, std::int64_t keys,
              std::int64_t queries, Causal causal) {
    for_patches(padded(keys), padded(queries), [&](std::int64_t m, std::int64_t n) {
      if (n + kPatch <= m + causal.shift) return;
      patch<false>(rows + m * d_, d_, columns + n, kBlock, to + m * kRow + n, kRow, {0, d_});
    });
  }
  void add_to_queries(float* to, const bf16* by_head, const Weights& w, std::int64_t keys,
                      std::int64_t queries, Causal causal) {
    for_patches(d_, padded(queries), [&](std::int64_t m, std::int64_t n) {
      const Range k{0, padded(std::min(keys, n + kPatch - causal.shift))};
      patch<true>(by_head + m * kBlock, kBlock, w.pairs + n, kBlock, to + m * kBlock + n, kBlock,
                  k);
    });
  }
  void add_to_keys(float* to, const Weights& w, const bf16* by_token, std::int64_t keys,
                   std::int64_t queries, Causal causal) {
    for_patches(keys, d_, [&](std::int64_t m, std::int64_t n) {
      const Range k{std::max(m + causal.shift, std::int64_t{0}) / kPatch * kPatch, padded(queries)};
      const bf16* left = w.rows + m * kBlock;
      const std::uint32_t* right = words(by_token) + n;
      float* sum = to + m * d_ + n;
      if (m + kPatch <= keys) return patch<true>(left, kBlock, right, d_, sum, d_, k);
      alignas(64) float edge[kPatch * kPatch];  // rows past the last key belong to another document
      patch<false>(left, kBlock, right, d_, edge, kPatch, k);
      for (std::int64_t r = 0; m + r < keys; ++r) {
        for (std::int64_t c = 0; c < kPatch; c += kLanes) {
          store(sum + r * d_ + c, load(sum + r * d_ + c) + load(edge + r * kPatch + c));
        }
      }
    });
  }

 private:
  template <class T>
  static auto words(T* p) {
    return reinterpret_cast<
        std::conditional_t<std::is_const_v<T>, const std::uint32_t, std::uint32_t>*>(p);
  }
  static float* floats(bf16* p) { return reinterpret_cast<float*>(p); }

  template <class Fn>
  static void for_patches(std::int64_t rows, std::int64_t columns, Fn&& fn) {
    for (std::int64_t n = 0; n < columns; n += kPatch) {
      for (std::int64_t m = 0; m < rows; m += kPatch) fn(m, n);
    }
  }

  /// c [32, 32] (+)= a [32, k] b [k, 32] over k in `depth`, in four tiles of sums. Row lengths in
  /// elements; b's are pairs.
  template <bool accumulate, class Pair>
  void patch(const bf16* a, std::int64_t a_row, const Pair* b, std::int64_t b_row, float* c,
             std::int64_t c_row, Range depth) {
    static_assert(sizeof(Pair) == 4);
    const std::int64_t a_bytes = 2 * a_row, b_bytes = 4 * b_row, c_bytes = 4 * c_row;
    if constexpr (accumulate) {
      tiles_.template load<0>(c, c_bytes);
      tiles_.template load<1>(c + 16, c_bytes);
      tiles_.template load<2>(c + 16 * c_row, c_bytes);
      tiles_.template load<3>(c + 16 * c_row + 16, c_bytes);
    } else {
      tiles_.template zero<0>();
      tiles_.template zero<1>();
      tiles_.template zero<2>();
      tiles_.template zero<3>();
    }
    for (std::int64_t k = depth.begin; k < depth.end; k += 32) {
      const bf16* left = a + k;
      const Pair* right = b + k / 2 * b_row;
      tiles_.template load<4>(left, a_bytes);
      tiles_.template load<6>(right, b_bytes);
      tiles_.template multiply<0, 4, 6>();
      tiles_.template load<7>(right + 16, b_bytes);
      tiles_.template multiply<1, 4, 7>();
      tiles_.template load<5>(left + 16 * a_row, a_bytes);
      tiles_.template multiply<2, 5, 6>();
      tiles_.template multiply<3, 5, 7>();
    }
    tiles_.template store<0>(c, c_bytes);
    tiles_.template store<1>(c + 16, c_bytes);
    tiles_.template store<2>(c + 16 * c_row, c_bytes);
    tiles_.template store<3>(c + 16 * c_row + 16, c_bytes);
  }

  std::int64_t d_;
  [[no_unique_address]] Tiles tiles_;
};

}  // namespace
}  // namespace hg
