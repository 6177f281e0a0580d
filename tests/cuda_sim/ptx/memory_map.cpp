#include "cuda_sim/ptx/memory_map.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>

#include "cuda_sim/machine.h"

namespace cuda_sim::ptx {
namespace {

const std::byte* begin_of(const std::span<std::byte>& memory) { return memory.data(); }

}  // namespace

MemoryMap::MemoryMap() : allocations_(machine().memory.allocations()) {}

std::span<std::byte> MemoryMap::find(std::byte* address) {
  std::span<std::byte> found = known(address);
  if (!found.empty()) return found;
  found = mapping_of_host(address);
  if (!found.empty())
    allocations_.insert(std::ranges::upper_bound(allocations_, begin_of(found), {}, begin_of),
                        found);
  return found;
}

std::span<std::byte> MemoryMap::known(std::byte* address) const {
  const auto after = std::ranges::upper_bound(allocations_, address, {}, begin_of);
  if (after == allocations_.begin()) return {};
  const std::span<std::byte> before = *std::prev(after);
  return address < before.data() + before.size() ? before : std::span<std::byte>();
}

std::span<std::byte> MemoryMap::mapping_of_host(std::byte* address) const {
  std::ifstream mappings("/proc/self/maps");
  for (std::string line; std::getline(mappings, line);) {
    unsigned long begin = 0, end = 0;
    char readable = 0, writable = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %c%c", &begin, &end, &readable, &writable) != 4)
      continue;
    const std::span mapping(reinterpret_cast<std::byte*>(begin), end - begin);
    if (address < mapping.data() || address >= mapping.data() + mapping.size()) continue;
    const bool has_allocation = std::ranges::any_of(allocations_, [&](const auto& its) {
      return its.data() >= mapping.data() && its.data() < mapping.data() + mapping.size();
    });
    return writable == 'w' && !has_allocation ? mapping : std::span<std::byte>();
  }
  return {};
}

}  // namespace cuda_sim::ptx
