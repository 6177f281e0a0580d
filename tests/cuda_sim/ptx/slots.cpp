// Which registers can share a slot: by the ranges of ops in which they are needed.
#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>

#include "cuda_sim/ptx/program.h"

namespace cuda_sim::ptx {
namespace {

/// Ops that are always performed one after the other.
struct BasicBlock {
  std::size_t begin, end;
  std::vector<std::size_t> next{};  // blocks that may follow
  std::vector<bool> reads{}, writes{},
      live{};  // registers: read before a write; needed at the begin
};

std::vector<BasicBlock> basic_blocks(const std::vector<Uses>& ops) {
  std::vector<bool> begins(ops.size() + 1);
  begins[0] = true;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (!ops[i].target && !ops[i].ends) continue;
    begins[i + 1] = true;
    if (ops[i].target) begins[*ops[i].target] = true;
  }
  std::vector<BasicBlock> blocks;
  std::vector<std::size_t> block_at(ops.size() + 1);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    if (begins[i]) blocks.push_back({.begin = i, .end = i});
    blocks.back().end = i + 1;
    block_at[i] = blocks.size() - 1;
  }
  for (BasicBlock& block : blocks) {
    const Uses& last = ops[block.end - 1];
    if (last.target) block.next.push_back(block_at[*last.target]);
    if (!last.ends && block.end < ops.size()) block.next.push_back(block_at[block.end]);
  }
  return blocks;
}

void find_live(std::vector<BasicBlock>& blocks, const std::vector<Uses>& ops,
               std::size_t registers) {
  for (BasicBlock& block : blocks) {
    block.reads.resize(registers);
    block.writes.resize(registers);
    for (std::size_t i = block.begin; i < block.end; ++i) {
      for (const std::uint32_t r : ops[i].reads)
        if (!block.writes[r]) block.reads[r] = true;
      for (const std::uint32_t r : ops[i].writes) block.writes[r] = true;
    }
    block.live = block.reads;
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t b = blocks.size(); b-- > 0;) {
      BasicBlock& block = blocks[b];
      for (const std::size_t next : block.next) {
        const std::vector<bool>& live = blocks[next].live;
        for (std::size_t r = 0; r < registers; ++r) {
          if (!live[r] || block.live[r] || block.writes[r]) continue;
          block.live[r] = true;
          changed = true;
        }
      }
    }
  }
}

struct Range {
  std::size_t first = ~std::size_t{0}, last = 0;
  void include(std::size_t i) {
    first = std::min(first, i);
    last = std::max(last, i);
  }
};

}  // namespace

SharedSlots share_slots(const std::vector<Uses>& ops, std::uint32_t registers) {
  std::vector<BasicBlock> blocks = basic_blocks(ops);
  find_live(blocks, ops, registers);
  std::vector<Range> ranges(registers);
  for (const BasicBlock& block : blocks) {
    for (std::uint32_t r = 0; r < registers; ++r) {
      if (block.live[r]) ranges[r].include(block.begin);
      for (const std::size_t next : block.next)
        if (blocks[next].live[r]) ranges[r].include(block.end - 1);
    }
  }
  for (std::size_t i = 0; i < ops.size(); ++i) {
    for (const std::uint32_t r : ops[i].reads) ranges[r].include(i);
    for (const std::uint32_t r : ops[i].writes) ranges[r].include(i);
  }

  std::vector<std::uint32_t> order(registers);
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::uint32_t r) { return ranges[r].first; });
  SharedSlots result{.of_register = std::vector<std::uint32_t>(registers), .count = 0};
  using Busy = std::pair<std::size_t, std::uint32_t>;  // the last op that needs it, and the slot
  std::priority_queue<Busy, std::vector<Busy>, std::greater<>> busy;
  for (const std::uint32_t r : order) {
    if (ranges[r].first > ranges[r].last) break;  // never used, like all that follow
    std::uint32_t slot = result.count;
    if (!busy.empty() && busy.top().first < ranges[r].first) {
      slot = busy.top().second;
      busy.pop();
    } else {
      ++result.count;
    }
    result.of_register[r] = slot;
    busy.emplace(ranges[r].last, slot);
  }
  return result;
}

}  // namespace cuda_sim::ptx
