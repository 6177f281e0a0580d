// Exact quantiles of values that are visited three times and stored never: a radix search on their
// bits.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

namespace hg {
namespace {

/// The value of a key. Keys are the bits of f32 values, changed such that their order as unsigned
/// integers is the order of the values.
inline float value_of_key(std::uint32_t key) {
  constexpr std::uint32_t kSign = 0x80000000U;
  return std::bit_cast<float>((key & kSign) != 0 ? key ^ kSign : ~key);
}

/// How often each digit follows the digits that are known of the keys sought. The root counts the
/// first digits of all keys; a node below counts the next digit of those that begin as it says.
class RadixTree {
 public:
  static constexpr int kLevels = 3;
  static constexpr std::int64_t kRadix = 2048;  // digits of 11, 11 and 10 bits

  /// i32 elements of memory to seek `keys` keys.
  static constexpr std::int64_t size(std::int64_t keys) {
    return kHeader + kNode * (1 + (kLevels - 1) * keys);
  }
  static constexpr int shift(int level) { return level == 0 ? 21 : level == 1 ? 10 : 0; }

  explicit RadixTree(std::int32_t* memory) : memory_(memory) {}

  /// Leaves a root that has counted nothing.
  void clear() {
    memory_[0] = 0;
    make_node();
  }
  /// Makes the node for what follows the first `level` digits of `key`, if there is none yet.
  void plant(std::uint32_t key, int level) {
    std::int32_t node = 0;
    for (int l = 0; l < level; ++l) {
      std::int32_t& child = children(node)[digit(key, l)];
      if (child == 0) child = make_node();
      node = child;
    }
  }
  /// Counts digit `level` of a key, if the digits before it are those of one sought.
  template <int level>
  void add(std::uint32_t key) {
    std::int32_t node = 0;
    for (int l = 0; l < level; ++l) {
      node = children(node)[digit(key, l)];
      if (node == 0) return;
    }
    ++counts(node)[digit(key, level)];
  }
  /// [kRadix]: what was counted behind the first `level` digits of `key`, which was planted.
  const std::int32_t* counts_behind(std::uint32_t key, int level) const {
    std::int32_t node = 0;
    for (int l = 0; l < level; ++l) node = children(node)[digit(key, l)];
    return counts(node);
  }

 private:
  static constexpr std::int64_t kHeader = 16, kNode = 2 * kRadix;

  static std::uint32_t digit(std::uint32_t key, int level) {
    return key >> shift(level) & (level == 2 ? 1023U : 2047U);
  }
  std::int32_t* counts(std::int32_t node) const { return memory_ + kHeader + node * kNode; }
  std::int32_t* children(std::int32_t node) const { return counts(node) + kRadix; }
  std::int32_t make_node() {
    const std::int32_t node = memory_[0]++;
    std::memset(counts(node), 0, kNode * sizeof(std::int32_t));
    return node;
  }

  std::int32_t* memory_;  // the number of nodes, then of each the counts and children
};

/// A key that is sought: the digits found so far, and its rank among the keys that begin so.
struct WantedKey {
  std::uint32_t key;
  std::int32_t rank;
};

inline constexpr std::array kQuantiles{0.01, 0.5, 0.99};
/// The two neighbours of each quantile.
inline constexpr std::int64_t kWantedKeys = 2 * std::ssize(kQuantiles);

/// Sets out to find kQuantiles of `count` values.
inline void want_quantiles(std::span<WantedKey, kWantedKeys> wanted, std::int64_t count) {
  for (std::size_t i = 0; i < kQuantiles.size(); ++i) {
    const auto rank = static_cast<std::int32_t>(kQuantiles[i] * static_cast<double>(count - 1));
    wanted[2 * i] = {0, rank};
    wanted[2 * i + 1] = {0, std::min(rank + 1, static_cast<std::int32_t>(count - 1))};
  }
}

/// Finds digit `level` of each key in the counts of all `trees` together.
template <class Trees>
void find_digits(std::span<WantedKey, kWantedKeys> wanted, const Trees& trees, int level) {
  for (WantedKey& w : wanted) {
    std::array<std::int32_t, RadixTree::kRadix> counts{};
    for (const RadixTree& tree : trees) {
      const std::int32_t* more = tree.counts_behind(w.key, level);
      for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += more[i];
    }
    std::uint32_t digit = 0;
    while (w.rank >= counts[digit]) w.rank -= counts[digit++];
    w.key |= digit << RadixTree::shift(level);
  }
}

/// kQuantiles[i] of `count` values whose keys have been found.
inline float quantile(std::span<const WantedKey, kWantedKeys> wanted, std::size_t i,
                      std::int64_t count) {
  const double place = kQuantiles[i] * static_cast<double>(count - 1);
  const double below = value_of_key(wanted[2 * i].key), above = value_of_key(wanted[2 * i + 1].key);
  if (below == above) return static_cast<float>(below);  // infinite, maybe
  const double part = place - static_cast<double>(static_cast<std::int64_t>(place));
  return static_cast<float>(below + part * (above - below));
}

}  // namespace
}  // namespace hg
