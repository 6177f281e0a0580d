#include "data/bpe_merger.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace hg {

MergeTable::MergeTable(std::vector<BpeMerge> merges)
    : merges_(std::move(merges)),
      slots_(std::bit_ceil(2 * merges_.size() + 2)),
      mask_(slots_.size() - 1),
      shift_(64U - static_cast<unsigned>(std::countr_zero(slots_.size()))) {
  for (std::size_t rank = 0; rank < merges_.size(); ++rank) {
    const std::uint64_t key = key_of(merges_[rank].left, merges_[rank].right);
    std::size_t i = slot_of(key);
    while (slots_[i].key != kEmpty && slots_[i].key != key) i = (i + 1) & mask_;
    slots_[i] = {key, static_cast<std::int32_t>(rank)};
  }
}

void BpeMerger::push(const MergeTable& table, std::int32_t left, std::int32_t right) {
  if (left < 0 || right < 0) return;
  const std::int32_t rank = table.rank(symbols_[static_cast<std::size_t>(left)].id,
                                       symbols_[static_cast<std::size_t>(right)].id);
  if (rank < 0) return;
  heap_.push_back(static_cast<std::uint64_t>(rank) << 32 | static_cast<std::uint32_t>(left));
  std::ranges::push_heap(heap_, std::greater{});
}

void BpeMerger::merge(const MergeTable& table, std::vector<std::int32_t>& ids) {
  const auto size = static_cast<std::int32_t>(ids.size());
  symbols_.resize(ids.size());
  heap_.clear();
  for (std::int32_t i = 0; i < size; ++i) {
    symbols_[static_cast<std::size_t>(i)] = {ids[static_cast<std::size_t>(i)], i - 1,
                                             i + 1 < size ? i + 1 : -1};
  }
  for (std::int32_t i = 0; i + 1 < size; ++i) push(table, i, i + 1);

  while (!heap_.empty()) {
    const std::uint64_t top = heap_.front();
    std::ranges::pop_heap(heap_, std::greater{});
    heap_.pop_back();
    const BpeMerge& merge = table[static_cast<std::int32_t>(top >> 32)];
    const auto at = static_cast<std::int32_t>(top & 0xFFFFFFFFU);
    Symbol& left = symbols_[static_cast<std::size_t>(at)];
    if (left.id != merge.left || left.next < 0) continue;  // outdated by an earlier merge
    Symbol& right = symbols_[static_cast<std::size_t>(left.next)];
    if (right.id != merge.right) continue;

    left.id = merge.result;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) symbols_[static_cast<std::size_t>(left.next)].previous = at;
    push(table, left.previous, at);
    push(table, at, left.next);
  }

  ids.clear();
  for (std::int32_t i = 0; i >= 0 && i < size; i = symbols_[static_cast<std::size_t>(i)].next) {
    ids.push_back(symbols_[static_cast<std::size_t>(i)].id);
  }
}

}  // namespace hg
