// The race check: what CUDA's rules say about accesses that a compiler's instrumentation reports.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace cuda_sim {

/// Two accesses to a byte by different threads of a launch, one of them a write and not both
/// atomic, are a race unless a __syncthreads (in a block) or a __syncwarp (in a warp) lies between
/// them; different blocks of a launch can only use atomics. This does not depend on the order in
/// which the threads happen to run. A __syncwarp counts for its whole warp, whatever its mask.
class RaceCheck {
 public:
  /// Of the kernels that run from now on; kernels run on one OS thread at a time.
  static RaceCheck& instance();

  void begin_launch() { ++launch_; }
  /// Memory that nobody has used: shared memory of a new block may lie where another's did.
  void forget(const void* memory, std::size_t bytes);
  /// Does nothing outside of kernels, and for a thread's own stack.
  void access(const void* memory, std::size_t bytes, bool write, bool atomic,
              void* program_counter);

  /// The pairs of places that have raced since the last call, as "norm.cu:57 and norm.cu:63".
  std::vector<std::string> take_races();

 private:
  /// Whose accesses an Access stands for: a thread's, or several ones' that are not ordered.
  enum class Spread : std::uint8_t { thread, warp, block, grid };
  struct Access {
    void* program_counter = nullptr;
    std::uint32_t launch = 0, block = 0, barriers = 0, warp_epoch = 0;
    std::uint16_t thread = 0;
    Spread spread = Spread::thread;
    bool atomic = false;
  };
  struct Byte {
    Access write, read;
  };
  static constexpr std::uintptr_t kPage = 256;
  using Page = std::array<Byte, kPage>;

  Byte& byte_at(std::uintptr_t address);
  static bool ordered(const Access& before, const Access& now);
  static Access merged(const Access& before, Access now);
  void compare(const Access& before, const Access& now);

  std::uint32_t launch_ = 0;
  std::unordered_map<std::uintptr_t, std::unique_ptr<Page>> pages_;
  std::uintptr_t last_number_ = 0;
  Page* last_page_ = nullptr;
  std::map<std::pair<void*, void*>, int> races_;
};

}  // namespace cuda_sim
