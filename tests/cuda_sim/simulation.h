// What tests say to the simulated machine: libraries that implement the CUDA runtime and NCCL where
// there is no GPU, linked instead of the real ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace cuda_sim {

/// Which of the threads of a block that can go on does, and which block runs next.
enum class ThreadOrder { linear, reverse, seeded };

struct Options {
  int devices = 8;
  /// What devices say they are: 90 is sm_90.
  int architecture = 90;
  /// Of a device: so few that kernels whose blocks walk over much work do walk.
  int multiprocessors = 2;
  /// Work of different streams is done in an order that follows from this number, and from nothing
  /// else where a single thread uses a device.
  std::uint64_t seed = 1;
  /// Seconds that a rank waits for another within NCCL; then it names it.
  double nccl_timeout = 20;
  /// What ncclGetVersion says; 0: what the header does.
  int nccl_version = 0;
  /// Of kernels; `seeded` follows from `seed`.
  ThreadOrder order = ThreadOrder::linear;
  /// What cp.async copies arrives when it is waited for, the latest it may; else at once.
  bool lazy_copies = true;
  /// Code of the host that touches memory of a device ends the program. Costs two system calls for
  /// whatever a device does, and AddressSanitizer does not see the ends of allocations.
  bool guard_memory = false;
  /// Bytes of shared memory that a block may have; the default is that of sm_90 and sm_100.
  std::size_t shared_memory = 232448;
};

/// A machine with all its devices idle and no memory allocated. Only one at a time.
class Simulation {
 public:
  explicit Simulation(const Options& options = {});
  /// The next one finds an empty machine, whatever is left.
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  /// What happened on all devices so far.
  struct Counts {
    std::int64_t allocations, waits;      // waits: of the host, for a stream or a device
    std::int64_t launches;                // of kernels, one by one
    std::int64_t graphs, graph_launches;  // graphs made; how often any was launched
  };
  static Counts counts();
  /// Allocations that were not freed, streams and graphs that were not destroyed, and communicators
  /// that were, or aborted, before graphs of their calls: there the real NCCL waits for ever.
  static std::size_t left_over();
  /// Whether kernels run with AddressSanitizer, which ends the program where they go wrong.
  static bool sanitized();
  /// What the latest error of a CUDA function that the calling thread saw was about.
  static std::string explanation();
};

}  // namespace cuda_sim
