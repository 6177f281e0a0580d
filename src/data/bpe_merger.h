// Byte-pair encoding of one word: merges pairs of neighbours, the most precedent first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/bpe_definition.h"

namespace hg {

/// Finds a pair's merge: a hash table without deletion, at most half full.
class MergeTable {
 public:
  explicit MergeTable(std::vector<BpeMerge> merges);

  /// The merge's precedence, lowest first, or -1 if the pair does not merge.
  std::int32_t rank(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t i = slot_of(key);; i = (i + 1) & mask_) {
      if (slots_[i].key == key) return slots_[i].rank;
      if (slots_[i].key == kEmpty) return -1;
    }
  }
  const BpeMerge& operator[](std::int32_t rank) const {
    return merges_[static_cast<std::size_t>(rank)];
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    std::int32_t rank = -1;
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
  }
  /// Fibonacci hashing: the high bits of a product with 2^64 over the golden ratio.
  std::size_t slot_of(std::uint64_t key) const { return (key * 0x9E3779B97F4A7C15U) >> shift_; }

  std::vector<BpeMerge> merges_;
  std::vector<Slot> slots_;
  std::size_t mask_;
  unsigned shift_;
};

/// O(n log n) in the word's length: a doubly linked list of symbols and a heap of the pairs that
/// merge.
class BpeMerger {
 public:
  /// Merges `ids` in place until no pair of neighbours merges. Of equal pairs the leftmost goes
  /// first.
  void merge(const MergeTable& table, std::vector<std::int32_t>& ids);

 private:
  struct Symbol {
    std::int32_t id;              // -1 once it is merged into its left neighbour
    std::int32_t previous, next;  // -1 at the ends
  };
  void push(const MergeTable& table, std::int32_t left, std::int32_t right);

  std::vector<Symbol> symbols_;
  std::vector<std::uint64_t> heap_;  // rank above, position of the left symbol below
};

}  // namespace hg
