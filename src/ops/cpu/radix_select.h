// Exact quantiles without sorting: a radix search on the bits of the values.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>

namespace hg {
namespace {

inline constexpr std::uint32_t kSign = 0x80000000U;

/// Keys are the bits of f32 values, changed such that their order as unsigned integers is the order
/// of the values. -0 has the key of 0, NaN has none.
inline std::uint32_t key_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);
  return bits ^ ((bits & kSign) != 0 ? ~0U : kSign);
}
inline float value_of(std::uint32_t key) {
  return std::bit_cast<float>((key & kSign) != 0 ? key ^ kSign : ~key);
}

/// How keys are cut into digits: what lies above the lowest key, from the first bit that differs.
/// The first digit is the longest, so that few keys share it with one that is sought.
struct KeyDigits {
  static constexpr int kLevels = 3, kFirstBits = 14, kBits = 9;

  std::uint32_t lowest;
  int levels;                      // that tell all keys apart
  std::array<int, kLevels> shift;  // where each digit ends

  KeyDigits(std::uint32_t low, std::uint32_t high) : lowest(low) {
    int rest = std::max(0, static_cast<int>(std::bit_width(high - low)) - kFirstBits);
    levels = 1 + (rest + kBits - 1) / kBits;
    for (int& end : shift) {
      end = rest;
      rest = std::max(0, rest - kBits);
    }
  }
};

/// How often each digit follows the digits that are known of the keys sought. The root counts the
/// first digits of all keys; a node below counts the next digit of those that begin as it says.
/// Keys are given as what they exceed the lowest by.
class RadixTree {
 public:
  /// i32 elements of memory to seek `keys` keys.
  static constexpr std::int64_t size(std::int64_t keys) {
    return kHeader + 2 * (kRoot + kNode * (KeyDigits::kLevels - 1) * keys);
  }

  RadixTree(std::int32_t* memory, const KeyDigits& digits) : memory_(memory), digits_(digits) {}

  /// Leaves a root that has counted nothing.
  void clear() {
    memory_[0] = kHeader;
    make_node(kRoot);
  }
  /// Makes the node for what follows the first `level` digits of `key`, if there is none yet.
  void plant(std::uint32_t key, int level) {
    std::int32_t node = kHeader;
    for (int l = 0; l < level; ++l) {
      std::int32_t& child = child_of(node, key, l);
      if (child == 0) child = make_node(kNode);
      node = child;
    }
  }
  /// Counts a first digit.
  void add_first(std::uint32_t digit) { ++memory_[kHeader + digit]; }
  /// Counts digit `level` of a key, if the digits before it are those of one sought.
  void add(std::uint32_t key, int level) {
    std::int32_t node = kHeader;
    for (int l = 0; l < level; ++l) {
      node = child_of(node, key, l);
      if (node == 0) return;
    }
    ++memory_[node + digit(key, level)];
  }
  /// What was counted behind the first `level` digits of `key`, which was planted.
  std::span<const std::int32_t> counts_behind(std::uint32_t key, int level) const {
    std::int32_t node = kHeader;
    for (int l = 0; l < level; ++l) node = child_of(node, key, l);
    return {memory_ + node, static_cast<std::size_t>(radix(level))};
  }

  static constexpr std::int64_t kRoot = 1 << KeyDigits::kFirstBits, kNode = 1 << KeyDigits::kBits;

 private:
  static constexpr std::int32_t kHeader = 16;

  static std::int64_t radix(int level) { return level == 0 ? kRoot : kNode; }
  std::int64_t digit(std::uint32_t key, int level) const {
    return key >> digits_.shift[static_cast<std::size_t>(level)] & (radix(level) - 1);
  }
  std::int32_t& child_of(std::int32_t node, std::uint32_t key, int level) const {
    return memory_[node + radix(level) + digit(key, level)];
  }
  std::int32_t make_node(std::int64_t size) {
    const std::int32_t node = memory_[0];
    memory_[0] += static_cast<std::int32_t>(2 * size);
    std::fill_n(memory_ + node, 2 * size, 0);
    return node;
  }

  // Where free memory begins; then nodes: the counts of their digits, and where the node behind
  // each digit lies, 0 if there is none.
  std::int32_t* memory_;
  KeyDigits digits_;
};

/// A key that is sought: the digits found so far, and its rank among the keys that begin so.
struct WantedKey {
  std::uint32_t key;
  std::int32_t rank;
};

inline constexpr std::array kQuantiles{0.01, 0.5, 0.99};
/// The two neighbours of each quantile, in ascending order.
inline constexpr std::int64_t kWantedKeys = 2 * std::ssize(kQuantiles);
using WantedKeys = std::span<WantedKey, kWantedKeys>;

/// Sets out to find kQuantiles of `count` values.
inline void want_quantiles(WantedKeys wanted, std::int64_t count) {
  for (std::size_t i = 0; i < kQuantiles.size(); ++i) {
    const auto rank = static_cast<std::int32_t>(kQuantiles[i] * static_cast<double>(count - 1));
    wanted[2 * i] = {0, rank};
    wanted[2 * i + 1] = {0, std::min(rank + 1, static_cast<std::int32_t>(count - 1))};
  }
}

/// Finds digit `level` of each key in the counts of all `trees` together.
template <class Trees>
void find_digits(WantedKeys wanted, const Trees& trees, const KeyDigits& digits, int level) {
  std::array<std::int32_t, RadixTree::kRoot> counts;
  std::optional<std::uint32_t> counted;
  std::uint32_t digit = 0;
  std::int32_t below = 0;
  for (WantedKey& w : wanted) {
    if (counted != w.key) {  // the same for neighbours that begin alike
      counted = w.key;
      digit = 0, below = 0;
      counts.fill(0);
      for (const RadixTree& tree : trees) {
        const auto more = tree.counts_behind(w.key, level);
        for (std::size_t i = 0; i < more.size(); ++i) counts[i] += more[i];
      }
    }
    while (w.rank >= below + counts[digit]) below += counts[digit++];
    w.rank -= below;
    w.key |= digit << digits.shift[static_cast<std::size_t>(level)];
  }
}

/// kQuantiles[i] of `count` values, as numpy.quantile computes it by default.
inline float quantile(WantedKeys found, const KeyDigits& digits, std::size_t i,
                      std::int64_t count) {
  const double place = kQuantiles[i] * static_cast<double>(count - 1);
  const double below = value_of(digits.lowest + found[2 * i].key);
  const double above = value_of(digits.lowest + found[2 * i + 1].key);
  if (below == above) return static_cast<float>(below);  // infinite, maybe
  return static_cast<float>(below + (place - std::floor(place)) * (above - below));
}

}  // namespace
}  // namespace hg
