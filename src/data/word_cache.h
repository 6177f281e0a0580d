// Remembers the ids of words.
#pragma once

#include <xxhash.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

namespace hg {

/// A cache line for each of 65 536 slots; a word replaces the one before it in its slot. Since few
/// words make up most of a text, that forgets little and needs no upkeep. Words too long for a line
/// are not kept.
class WordCache {
 public:
  static std::uint64_t hash(std::string_view word) { return XXH3_64bits(word.data(), word.size()); }

  /// The ids of a word of this hash; empty if it is not known.
  std::span<const std::int32_t> find(std::string_view word, std::uint64_t hash) const {
    const Slot& slot = slots_[hash % kSlots];
    if (slot.size != word.size() || std::memcmp(slot.text, word.data(), word.size()) != 0)
      return {};
    return {slot.ids, slot.count};
  }

  void store(std::string_view word, std::uint64_t hash, std::span<const std::int32_t> ids) {
    if (word.size() > sizeof(Slot::text) || ids.size() > kIds) return;
    Slot& slot = slots_[hash % kSlots];
    slot.size = static_cast<std::uint8_t>(word.size());
    slot.count = static_cast<std::uint8_t>(ids.size());
    std::memcpy(slot.text, word.data(), word.size());
    std::memcpy(slot.ids, ids.data(), ids.size_bytes());
  }

 private:
  static constexpr std::size_t kSlots = 65536, kIds = 8;
  struct alignas(64) Slot {
    std::int32_t ids[kIds];
    std::uint8_t size, count;  // of text, of ids; 0 in a slot that was never used
    char text[30];
  };
  static_assert(sizeof(Slot) == 64);

  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
};

}  // namespace hg
