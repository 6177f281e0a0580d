// The simulated machine from within: memory, and devices that work through streams.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/clock.h"
#include "cuda_sim/guarded_heap.h"
#include "cuda_sim/simulation.h"

namespace cuda_sim {

struct Capture;

/// The end of a piece of work, for whoever waits for it.
struct Mark {
  std::atomic<bool> done{false};
  hg::Clock::time_point when{};  // written before done
  // Of an event that was recorded in a capture; it is never done.
  bool captured = false;
  std::weak_ptr<Capture> capture{};  // gone when that has ended
  std::vector<std::size_t> nodes{};  // what it stands behind
};
using MarkPointer = std::shared_ptr<Mark>;

/// Returns whether it is done; if not, it is called again, and other streams may go on meanwhile.
using Work = std::function<bool()>;

/// What a piece of work is, for whoever compares two: its kind, and the bytes of all operands.
/// Without a kind, it cannot be part of a graph.
struct Operands {
  const char* kind = nullptr;
  std::vector<std::vector<std::byte>> values{};

  bool operator==(const Operands& other) const;
};

/// Work in a graph: it can be done again.
struct Node {
  std::function<Work()> begin;  // the work of one launch
  Operands operands;
  std::size_t branch;              // one for each stream; 0 is of the one that began to record
  std::vector<std::size_t> after;  // nodes that are done before: graphs know no other order
};

/// What one stream is recording, and those that have joined it.
struct Capture {
  bool relaxed;                         // the thread may call what is unsafe
  std::vector<cudaStream_t> streams{};  // the first began
  std::vector<Node> nodes{};
  std::string failure{};  // why it is invalid
};

struct Item {
  Work work;
  std::vector<MarkPointer> after;  // of other streams
  MarkPointer mark;
};

}  // namespace cuda_sim

struct CUstream_st {
  int device;
  bool blocking;  // takes turns with the default stream
  std::deque<cuda_sim::Item> items{};
  cuda_sim::MarkPointer last{};  // of what was enqueued last; null before
  std::shared_ptr<cuda_sim::Capture> capture{};
  std::vector<std::size_t> nodes{};  // of the capture, that the next one recorded stands behind
};

struct CUgraph_st {
  std::vector<cuda_sim::Node> nodes;
};

struct CUgraphExec_st {
  std::vector<cuda_sim::Node> nodes;
  cuda_sim::MarkPointer last{};  // of the latest launch
};

struct CUevent_st {
  bool timed;
  cuda_sim::MarkPointer mark{};  // null until it is recorded
};

namespace cuda_sim {

/// Nothing runs when it is enqueued. Whoever waits for something lets the devices work, an item at
/// a time from streams picked at random, his own first; so what another thread has enqueued is done
/// even while that thread does something else, as on a GPU, but as late as can be.
class Device {
 public:
  Device(int index, std::uint64_t seed);

  cudaStream_t new_stream(bool blocking);
  /// The stream itself, or the default stream for null and its other names.
  cudaStream_t stream_of(cudaStream_t stream);
  void end_stream(cudaStream_t stream);

  /// Does `work` behind all that is in the stream. The default stream and blocking streams wait for
  /// each other. A stream that is being captured records the work.
  MarkPointer enqueue(cudaStream_t stream, Work work, std::vector<MarkPointer> after = {},
                      Operands operands = {});
  /// For a stream that is being captured: work that is another one in every launch.
  void record(cudaStream_t stream, std::function<Work()> begin, Operands operands);
  /// Does what was recorded behind all that is in the stream. Branches are in no order but that of
  /// their nodes.
  MarkPointer launch(cudaStream_t stream, const std::vector<Node>& nodes);
  MarkPointer last_of(cudaStream_t stream);
  std::vector<MarkPointer> last_of_all();
  std::size_t streams();  // without the default stream
  /// What any of its streams records.
  std::vector<std::shared_ptr<Capture>> captures();

  /// Does one item. False if there is none that can be done, or another thread is at it.
  bool step();

  /// The first exception of a work: the device is then useless.
  std::string failure();

 private:
  // With the mutex held:
  MarkPointer append(cudaStream_t stream, Work work, std::vector<MarkPointer> after);

  std::mutex mutex_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<CUstream_st>> streams_;   // the first is the default stream
  std::vector<std::unique_ptr<CUstream_st>> branches_;  // of graphs that run
  std::string failure_;
};

enum class MemoryKind { device, pinned };

/// All allocations, by address.
class Memory {
 public:
  struct Block {
    std::size_t bytes;
    MemoryKind kind;
    int device;  // the caller's
  };
  explicit Memory(bool guarded);
  ~Memory();
  /// For GuardedHeap::Open; null unless guarded.
  GuardedHeap* heap() const { return heap_.get(); }
  /// Filled with bytes that make NaN, of every floating-point type. Null if there is no memory.
  void* allocate(std::size_t bytes, MemoryKind kind);
  /// False if that is not what `allocate` returned for this kind.
  bool release(void* memory, MemoryKind kind);
  /// The kind of memory that [address, address + bytes) is in; nothing for any other memory. Throws
  /// if the bytes go beyond the end of the allocation.
  std::optional<MemoryKind> kind_of(const void* address, std::size_t bytes) const;
  std::size_t blocks() const;
  /// Bytes of a device that are allocated.
  std::size_t held_of(int device) const;
  /// What is allocated, in the order of addresses.
  std::vector<std::span<std::byte>> allocations() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Block> blocks_;
  std::unique_ptr<GuardedHeap> heap_;
};

class Clique;

struct Machine {
  explicit Machine(const Options& its_options);

  /// Lets devices work, `device` first; sleeps a moment if they cannot.
  void advance(int device);
  template <class Done>
  void wait(int device, Done&& done) {
    while (!done()) advance(device);
  }

  const Options options;
  std::vector<std::unique_ptr<Device>> devices;
  Memory memory{options.guard_memory};

  std::atomic<std::int64_t> allocations{0}, waits{0}, launches{0};
  std::atomic<std::int64_t> graphs{0}, graph_launches{0};
  std::atomic<std::size_t> graphs_alive{0};  // of both kinds
  std::atomic<std::size_t> outlived{0};      // communicators that went before their graphs

  std::mutex cliques_mutex;
  std::map<std::string, std::shared_ptr<Clique>> cliques;  // of NCCL, by the id of their making
  int ids = 0;
};

/// Of the Simulation that lives; throws without one.
Machine& machine();
/// The calling thread's.
int current_device();
Device& device();

/// The error of a CUDA call within a host function, which must not make any.
cudaError_t check_caller();
/// The error of a call that the calling thread must not make while it captures, unless relaxed: the
/// capture is then invalid.
cudaError_t check_safe(const char* call);
/// The error of a call that cannot be captured, or of any where the capture is invalid already.
cudaError_t check_not_capturing(cudaStream_t stream, const char* call);
cudaError_t check_capture(cudaStream_t stream);
/// Waits for all that is in the device's streams, whoever captures.
cudaError_t wait_for_device();
/// Records an error with what it is about, for cudaGetLastError and Simulation::explanation.
cudaError_t error(cudaError_t code, std::string explanation);

}  // namespace cuda_sim
