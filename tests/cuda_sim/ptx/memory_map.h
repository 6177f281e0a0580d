// Which memory kernels may touch.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace cuda_sim::ptx {

/// The device's allocations and, since tests give kernels scratch of the host, mappings of the host
/// that hold none of them.
class MemoryMap {
 public:
  /// As the machine is now.
  MemoryMap();
  /// The one that `address` is in; empty if there is none.
  std::span<std::byte> find(std::byte* address);

 private:
  std::span<std::byte> known(std::byte* address) const;
  std::span<std::byte> mapping_of_host(std::byte* address) const;

  std::vector<std::span<std::byte>> allocations_;  // by address
};

}  // namespace cuda_sim::ptx
