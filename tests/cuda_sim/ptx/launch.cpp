#include "cuda_sim/ptx/launch.h"

#include <algorithm>

#include "core/check.h"
#include "cuda_sim/ptx/lane.h"

namespace cuda_sim::ptx {
namespace {

constexpr std::uint64_t kUnwritten = ~std::uint64_t{0};  // NaN, of any type

bool aligned(std::uint64_t address, std::size_t bytes) { return address % (bytes & -bytes) == 0; }

}  // namespace

Launch::Launch(std::shared_ptr<const Program> program, const Call& call)
    : program_(std::move(program)),
      arguments_(program_->parameter_bytes),
      last_found_(program_->ops.size()) {
  HG_CHECK(call.arguments.size() == program_->parameters.size(),
           "{} has {} parameters in PTX, and {} arguments", program_->name,
           program_->parameters.size(), call.arguments.size());
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    const Parameter& parameter = program_->parameters[i];
    const std::vector<std::byte>& argument = call.arguments[i];
    HG_CHECK(argument.size() == parameter.bytes,
             "parameter {} of {} has {} bytes in PTX, and {} in the launch", i, program_->name,
             parameter.bytes, argument.size());
    std::ranges::copy(argument, arguments_.data() + parameter.offset);
  }
}

const Where& Launch::place_of(const Op* op) const {
  return program_->places[static_cast<std::size_t>(op - program_->ops.data())];
}

void Launch::begin_block() {
  const uint3 block = the_thread->block;
  if (memory_ && block.x == block_.x && block.y == block_.y && block.z == block_.z) return;
  const dim3 size = the_thread->block_size;
  const std::size_t threads = std::size_t{size.x} * size.y * size.z;
  const Where& where = program_->places.front();
  if (!memory_) {
    memory_.emplace();
    registers_.resize(threads * program_->slot_count);
    local_.resize(threads * program_->local_bytes);
    if (threads > program_->max_threads)
      fail(fmt::format("a block of {} threads, and __launch_bounds__ of {}", threads,
                       program_->max_threads),
           where);
  }
  block_ = block;
  windows_.clear();
  for (const SharedArray& array : program_->shared) {
    const bool dynamic = array.address == kDynamicShared;
    const auto bytes = dynamic ? static_cast<std::uint32_t>(dynamic_shared_bytes()) : array.bytes;
    auto* const memory = static_cast<std::byte*>(dynamic ? dynamic_shared_array()
                                                         : shared_array(&array, bytes, where));
    windows_.push_back({array.address, array.address + bytes, memory});
  }
}

void Launch::run_thread() {
  begin_block();
  const Thread& thread = *the_thread;
  std::uint64_t* const registers = registers_.data() + thread.number * program_->slot_count;
  const std::array special = {thread.thread.x,     thread.thread.y,     thread.thread.z,
                              thread.block_size.x, thread.block_size.y, thread.block_size.z,
                              thread.block.x,      thread.block.y,      thread.block.z,
                              thread.grid_size.x,  thread.grid_size.y,  thread.grid_size.z,
                              thread.lane,         thread.warp,         (1U << thread.lane) - 1};
  static_assert(special.size() == kSpecialRegisters.size());
  std::uint64_t* const rest =
      std::ranges::copy(program_->constants, std::ranges::copy(special, registers).out).out;
  std::fill(rest, registers + program_->slot_count, kUnwritten);
  std::byte* const local = local_.data() + thread.number * program_->local_bytes;
  std::fill_n(local, program_->local_bytes, std::byte{0xff});
  Lane lane{.registers = registers, .local = local, .launch = *this};
  for (const Op* op = program_->ops.data(); op != nullptr;) op = op->run(op, lane);
}

const std::byte* Launch::argument(const Op* op, std::size_t bytes) const {
  const auto offset = static_cast<std::size_t>(op->offset);
  if (offset + bytes > arguments_.size())
    fail("something is read past the end of the parameters", place_of(op));
  return arguments_.data() + offset;
}

std::byte* Launch::shared(const Op* op, std::uint64_t address, std::size_t bytes,
                          const char* what) {
  const auto begin = static_cast<std::uint32_t>(address);
  for (const Window& window : windows_) {
    if (begin < window.begin || begin + bytes > window.end) continue;
    if (!aligned(begin, bytes))
      fail(fmt::format("{} bytes of shared memory are {} at an address that is not aligned", bytes,
                       what),
           place_of(op));
    return window.memory + (begin - window.begin);
  }
  fail_shared(op, begin, bytes, what);
}

void Launch::fail_shared(const Op* op, std::uint32_t address, std::size_t bytes,
                         const char* what) const {
  for (const Window& window : windows_) {
    const bool past = address + bytes > window.end && address < window.end + kSharedGap;
    const bool before = address < window.begin && address + kSharedGap >= window.begin;
    if (past || before)
      fail(fmt::format("something was {} {} this array of {} bytes of shared memory", what,
                       before ? "before" : "past the end of", window.end - window.begin),
           place_of(op));
  }
  fail(fmt::format("{} bytes of shared memory are {} at {}, which is in no array", bytes, what,
                   address),
       place_of(op));
}

std::byte* Launch::global(const Op* op, std::uint64_t address, std::size_t bytes,
                          const char* what) {
  if (!aligned(address, bytes))
    fail(fmt::format("{} bytes of global memory are {} at an address that is not aligned", bytes,
                     what),
         place_of(op));
  auto* const memory = reinterpret_cast<std::byte*>(address);
  std::span<std::byte>& found = last_found_[static_cast<std::size_t>(op - program_->ops.data())];
  const auto holds = [&] {
    return memory >= found.data() && memory + bytes <= found.data() + found.size();
  };
  if (holds()) return memory;
  found = memory_->find(memory);
  if (holds()) return memory;
  fail(fmt::format("{} bytes are {} at {}, which is in no allocation", bytes, what,
                   static_cast<const void*>(memory)),
       place_of(op));
}

std::byte* Launch::local(const Op* op, std::byte* memory, std::uint64_t address,
                         std::size_t bytes) {
  if (address < kLocalBase || address + bytes > kLocalBase + program_->local_bytes ||
      !aligned(address, bytes))
    fail("an address of local memory is outside of it, or not aligned", place_of(op));
  return memory + (address - kLocalBase);
}

}  // namespace cuda_sim::ptx
