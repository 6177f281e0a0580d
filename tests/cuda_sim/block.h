// A block of a simulated kernel: its threads, in an order that the options choose, and its memory.
#pragma once

#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_sim/fiber.h"
#include "cuda_sim/kernel.h"
#include "cuda_sim/shared_memory.h"
#include "cuda_sim/simulation.h"

namespace cuda_sim {

/// The limits of a block and a grid, of every GPU that headgate supports.
inline constexpr unsigned kMaxThreads = 1024, kMaxThreadsZ = 64, kMaxGridYZ = 65535;
inline constexpr std::size_t kMaxStaticShared = 48 << 10;

/// What the lanes of a warp do together.
struct WarpCall {
  const char* name;
  Where where;
  std::uint32_t mask;
  void (*combine)(const WarpOperands&);
  bool whole;  // not without all 32 lanes
};

struct Meeting {
  WarpCall call;
  WarpOperands operands{};  // of the lanes that have come
};

struct Warp {
  std::uint32_t alive = 0;
  std::vector<Meeting> meetings{};  // each of another mask
  std::uint32_t epoch = 0;          // of __syncwarps, for the race check
};

/// A block after the other, on the same fibers.
class Block {
 public:
  /// Runs `kernel` in all threads of the block at `position`. Throws hg::Error with what a thread
  /// did wrong.
  void run(const std::function<void()>& kernel, uint3 position, dim3 grid, dim3 block,
           std::size_t shared_bytes, const Options& options);

  // Called by the thread that runs.
  int barrier(bool predicate, const Where& where);
  void warp_operation(const WarpCall& call, const void* in, void* out);
  SharedMemory& shared() { return shared_; }
  void copy_async(void* to, const void* from, std::size_t bytes, std::size_t count,
                  void* program_counter);
  void commit_copies();
  void wait_for_copies(std::size_t pending);

  // What the race check asks about the thread that runs.
  std::uint32_t barriers() const { return barriers_; }
  std::uint32_t warp_epoch() const { return warps_[running_->view.warp].epoch; }
  bool is_local(const void* address) const { return running_->fiber.owns(address); }

 private:
  enum class State { ready, at_barrier, in_warp_operation, done };
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes, count;
    void* program_counter;  // that started it
  };
  struct Runner {
    Fiber fiber;
    Block* block = nullptr;
    Thread view{};
    State state = State::done;
    Where where;             // of what it waits for
    std::vector<Copy> open;  // copies that are not committed
    std::vector<std::vector<Copy>> groups;
  };

  void prepare(uint3 position, dim3 grid, dim3 block);
  static void thread_main(void* runner);
  void finish(Runner& runner);
  Runner& pick();
  void wait(State state, const Where& where);
  void wake(Runner& runner);
  void open_barrier();
  bool complete_if_all_came(unsigned warp, std::size_t meeting);
  void land(const std::vector<Copy>& copies);
  std::string deadlock() const;

  const std::function<void()>* kernel_ = nullptr;
  Options options_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Runner>> runners_;  // those of the block come first
  std::vector<Warp> warps_;
  std::deque<Runner*> ready_;
  Runner* running_ = nullptr;
  std::size_t alive_ = 0, at_barrier_ = 0;
  int predicates_ = 0, last_predicates_ = 0;
  Where barrier_;
  std::uint32_t barriers_ = 0;
  SharedMemory shared_;
  std::string error_;
};

/// The block that the calling OS thread runs; throws outside of kernels.
Block& current_block();

}  // namespace cuda_sim
