// A rank's part of a simulated communicator.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cuda_sim/nccl_clique.h"

namespace cuda_sim {

/// What outlives the handle: queues may hold on to it.
class Member : public std::enable_shared_from_this<Member> {
 public:
  Member(std::shared_ptr<Clique> clique, int rank, int device, bool blocking);

  int rank() const { return rank_; }
  int device() const { return device_; }
  bool blocking() const { return blocking_; }
  const std::shared_ptr<Clique>& clique() const { return clique_; }

  /// The number of the next collective; the same on all ranks.
  std::int64_t next_number() { return ++number_; }
  /// Puts calls of a group into streams: collectives in their order, sends and receives as one.
  void enqueue(std::vector<std::pair<cudaStream_t, Ask>> calls);
  /// Whether graphs live that its calls were recorded in.
  bool in_graphs() const { return recordings_ > 0; }
  /// Whether the device has done all of it.
  bool idle() const { return queued_ == 0; }

  /// What the current call has still to do: tried each time the state is looked at.
  void begin(std::function<bool()> pending);
  bool pending() const { return pending_ != nullptr; }
  /// Success, in progress, or why it failed, for good.
  ncclResult_t state();
  std::string words() const;

  /// Its work ends at the next try.
  void abort();

 private:
  /// True when it is done, or the communicator has failed.
  bool try_work(const std::function<bool()>& work);
  /// `begin` makes the work: once, or for each launch of a graph.
  void queue(cudaStream_t stream, const std::vector<Ask>& asks,
             const std::function<std::function<bool()>(const std::vector<Ask>&)>& begin);
  void note(const NcclFailure& failure);

  const std::shared_ptr<Clique> clique_;
  const int rank_, device_;
  const bool blocking_;
  std::int64_t number_ = 0, recorded_ = 0;
  std::atomic<int> recordings_{0};
  std::atomic<int> queued_{0};
  std::atomic<bool> aborted_{false};
  mutable std::mutex mutex_;
  std::function<bool()> pending_;
  ncclResult_t state_ = ncclSuccess;
  std::string words_;
};

}  // namespace cuda_sim

struct ncclComm {
  std::shared_ptr<cuda_sim::Member> member;
};
