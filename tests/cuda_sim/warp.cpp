// Operations that the lanes of a warp do together, and copies that go on while a thread does.
#include <utility>

#include "core/check.h"
#include "cuda_sim/block.h"

namespace cuda_sim {

void Block::warp_operation(const WarpCall& call, const void* in, void* out) {
  Warp& warp = warps_[running_->view.warp];
  const unsigned lane = running_->view.lane;
  if ((call.mask >> lane & 1U) == 0)
    fail(fmt::format("lane {} calls {}, but is not in its mask {:#010x}", lane, call.name,
                     call.mask),
         call.where);
  std::size_t index = 0;
  while (index < warp.meetings.size() && warp.meetings[index].call.mask != call.mask) ++index;
  if (index == warp.meetings.size()) warp.meetings.push_back({.call = call});
  Meeting& meeting = warp.meetings[index];
  const WarpCall& first = meeting.call;
  if (first.combine != call.combine || first.where.line() != call.where.line())
    fail(fmt::format("lanes of a warp are in different operations: {} here, {} at line {}",
                     call.name, first.name, first.where.line()),
         call.where);
  // Lanes that wait keep their operands where they are: on their own stacks.
  meeting.operands.lanes |= 1U << lane;
  meeting.operands.in[lane] = in;
  meeting.operands.out[lane] = out;
  if (!complete_if_all_came(running_->view.warp, index)) wait(State::in_warp_operation, call.where);
}

bool Block::complete_if_all_came(unsigned number, std::size_t index) {
  Warp& warp = warps_[number];
  const Meeting& meeting = warp.meetings[index];
  const std::uint32_t lanes = meeting.operands.lanes;
  if (lanes != (meeting.call.mask & warp.alive)) return false;
  if (meeting.call.whole && lanes != kAllLanes)
    fail(fmt::format("{} by lanes {:#010x} alone: the others have exited, or never were",
                     meeting.call.name, lanes),
         meeting.call.where);
  if (meeting.call.combine == nullptr) {
    ++warp.epoch;
  } else {
    const Thread* const caller = std::exchange(the_thread, nullptr);  // these are not its accesses
    meeting.call.combine(meeting.operands);
    the_thread = caller;
  }
  warp.meetings.erase(warp.meetings.begin() + static_cast<std::ptrdiff_t>(index));
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if ((lanes >> lane & 1U) == 0) continue;
    Runner& runner = *runners_[number * kWarp + lane];
    if (&runner != running_) wake(runner);
  }
  return true;
}

void Block::copy_async(void* to, const void* from, std::size_t bytes, std::size_t count,
                       void* program_counter) {
  // It may land at any time from now until it is waited for.
  if (observer().access != nullptr) {
    observer().access(from, count, false, program_counter);
    observer().access(to, bytes, true, program_counter);
  }
  running_->open.push_back(
      {.to = to, .from = from, .bytes = bytes, .count = count, .program_counter = program_counter});
  if (!options_.lazy_copies) land({running_->open.back()});
}

void Block::commit_copies() { running_->groups.push_back(std::exchange(running_->open, {})); }

void Block::wait_for_copies(std::size_t pending) {
  auto& groups = running_->groups;
  while (groups.size() > pending) {
    if (options_.lazy_copies) land(groups.front());
    for (const Copy& copy : groups.front())
      if (observer().access != nullptr)
        observer().access(copy.to, copy.bytes, true, copy.program_counter);
    groups.erase(groups.begin());
  }
}

void Block::land(const std::vector<Copy>& copies) {
  for (const Copy& copy : copies) {
    std::memcpy(copy.to, copy.from, copy.count);
    std::memset(static_cast<std::byte*>(copy.to) + copy.count, 0, copy.bytes - copy.count);
  }
}

void warp_operation(const char* name, std::uint32_t mask, const void* in, void* out,
                    void (*combine)(const WarpOperands&), const Where& where) {
  current_block().warp_operation(
      {.name = name, .where = where, .mask = mask, .combine = combine, .whole = false}, in, out);
}

void whole_warp_operation(const char* name, const void* in, void* out,
                          void (*combine)(const WarpOperands&), const Where& where) {
  current_block().warp_operation(
      {.name = name, .where = where, .mask = kAllLanes, .combine = combine, .whole = true}, in,
      out);
}

void copy_async(void* shared, const void* global, std::size_t bytes, std::size_t count,
                const Where& where) {
  const auto aligned = [&](const void* address) {
    return reinterpret_cast<std::uintptr_t>(address) % bytes == 0;
  };
  if (!aligned(shared) || !aligned(global))
    fail(fmt::format("cp.async of {} bytes: an address is not a multiple of that", bytes), where);
  current_block().copy_async(shared, global, bytes, count, __builtin_return_address(0));
}

void commit_copies() { current_block().commit_copies(); }
void wait_for_copies(std::size_t pending) { current_block().wait_for_copies(pending); }

}  // namespace cuda_sim
