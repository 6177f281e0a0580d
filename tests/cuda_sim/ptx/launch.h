// A launch of a program: its arguments, and the memory of the threads of a block.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cuda_sim/ptx/memory_map.h"
#include "cuda_sim/ptx/program.h"

namespace cuda_sim::ptx {

class Launch {
 public:
  /// Throws hg::Error if the arguments are not what the program takes.
  Launch(std::shared_ptr<const Program> program, const Call& call);

  /// Runs the program in the calling thread of a block.
  void run_thread();

  const Where& place_of(const Op* op) const;
  /// What `op` reads of the parameters.
  const std::byte* argument(const Op* op, std::size_t bytes) const;
  /// The memory of [address, address + bytes). Ends the launch with an error if it is not aligned,
  /// or not within one array, or one allocation.
  std::byte* shared(const Op* op, std::uint64_t address, std::size_t bytes, const char* what);
  std::byte* global(const Op* op, std::uint64_t address, std::size_t bytes, const char* what);
  std::byte* local(const Op* op, std::byte* memory, std::uint64_t address, std::size_t bytes);

 private:
  void begin_block();
  [[noreturn]] void fail_shared(const Op* op, std::uint32_t address, std::size_t bytes,
                                const char* what) const;

  struct Window {
    std::uint32_t begin, end;
    std::byte* memory;
  };
  std::shared_ptr<const Program> program_;
  std::vector<std::byte> arguments_;
  std::vector<std::uint64_t> registers_;
  std::vector<std::byte> local_;
  std::vector<Window> windows_;
  std::optional<MemoryMap> memory_;               // of when the first block began
  std::vector<std::span<std::byte>> last_found_;  // where every op was last
  uint3 block_{};                                 // whose shared memory this is
};

}  // namespace cuda_sim::ptx
