#include "cuda_sim/racecheck/race_check.h"

#include <dlfcn.h>
#include <fmt/core.h>

#include <cstdio>
#include <set>

#include "core/check.h"
#include "cuda_sim/block.h"

namespace cuda_sim {
namespace {

/// File and line of an instruction before `program_counter`: the innermost in a kernel's file,
/// where functions were inlined into each other.
std::string place_of(void* program_counter) {
  Dl_info module{};
  HG_CHECK(dladdr(program_counter, &module) != 0, "no file has the code at {}", program_counter);
  const auto offset = reinterpret_cast<std::uintptr_t>(program_counter) -
                      reinterpret_cast<std::uintptr_t>(module.dli_fbase) - 1;
  const std::string command =
      fmt::format("addr2line --inlines --basenames --exe='{}' {:#x}", module.dli_fname, offset);
  FILE* lines = popen(command.c_str(), "r");
  HG_CHECK(lines != nullptr, "cannot run addr2line");
  std::string result;
  std::array<char, 512> line{};
  while (std::fgets(line.data(), line.size(), lines) != nullptr) {
    std::string its = line.data();
    its.resize(its.find_first_of(" \n"));  // "(discriminator 2)" may follow
    if (result.empty() ||
        (result.find(".cu:") == std::string::npos && its.find(".cu:") != std::string::npos))
      result = its;
  }
  pclose(lines);
  return result;
}

}  // namespace

RaceCheck& RaceCheck::instance() {
  static RaceCheck check;
  return check;
}

RaceCheck::Byte& RaceCheck::byte_at(std::uintptr_t address) {
  const std::uintptr_t number = address / kPage;
  if (last_page_ == nullptr || number != last_number_) {
    std::unique_ptr<Page>& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    last_number_ = number;
    last_page_ = page.get();
  }
  return (*last_page_)[address % kPage];
}

void RaceCheck::forget(const void* memory, std::size_t bytes) {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  for (std::size_t i = 0; i < bytes; ++i) byte_at(begin + i) = {};
}

bool RaceCheck::ordered(const Access& before, const Access& now) {
  if (before.launch != now.launch) return true;
  if (before.block != now.block || before.spread == Spread::grid) return false;
  if (before.barriers != now.barriers) return true;
  if (before.spread == Spread::thread && before.thread == now.thread) return true;
  const bool same_warp =
      before.spread != Spread::block && before.thread / kWarp == now.thread / kWarp;
  return same_warp && before.warp_epoch != now.warp_epoch;
}

/// Stands for both, so that what comes later is compared with both.
RaceCheck::Access RaceCheck::merged(const Access& before, Access now) {
  if (ordered(before, now)) return now;
  const bool same_block = before.block == now.block && before.spread != Spread::grid;
  const bool same_warp =
      same_block && before.spread != Spread::block && before.thread / kWarp == now.thread / kWarp;
  now.spread = same_warp ? Spread::warp : same_block ? Spread::block : Spread::grid;
  return now;
}

void RaceCheck::compare(const Access& before, const Access& now) {
  if (ordered(before, now) || (before.atomic && now.atomic)) return;
  ++races_[std::minmax(before.program_counter, now.program_counter)];
}

void RaceCheck::access(const void* memory, std::size_t bytes, bool write, bool atomic,
                       void* program_counter) {
  const Thread* thread = the_thread;
  if (thread == nullptr || current_block().is_local(memory)) return;
  const dim3 grid = thread->grid_size;
  const Access now{
      .program_counter = program_counter,
      .launch = launch_,
      .block = thread->block.x + grid.x * (thread->block.y + grid.y * thread->block.z),
      .barriers = current_block().barriers(),
      .warp_epoch = current_block().warp_epoch(),
      .thread = static_cast<std::uint16_t>(thread->number),
      .spread = Spread::thread,
      .atomic = atomic,
  };
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  for (std::size_t i = 0; i < bytes; ++i) {
    Byte& byte = byte_at(begin + i);
    compare(byte.write, now);
    if (write) {
      compare(byte.read, now);
      byte.write = atomic && byte.write.atomic ? merged(byte.write, now) : now;
    } else {
      byte.read = merged(byte.read, now);
    }
  }
}

std::vector<std::string> RaceCheck::take_races() {
  std::set<std::string> sentences;
  for (const auto& [pair, count] : races_) {
    const std::string first = place_of(pair.first), second = place_of(pair.second);
    sentences.insert(fmt::format("{} and {}", std::min(first, second), std::max(first, second)));
  }
  races_.clear();
  return {sentences.begin(), sentences.end()};
}

}  // namespace cuda_sim
