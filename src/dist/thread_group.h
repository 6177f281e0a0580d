// Where ranks that are threads meet and look at each other's tensors.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dist/comm.h"

namespace hg {

/// What all groups of a world share: one lock, and which ranks have been told to stop.
struct ThreadWorld {
  explicit ThreadWorld(int size) : stopped(static_cast<std::size_t>(size)), mail(stopped.size()) {}

  /// Makes a rank's waiting and later calls throw. The first sentence counts. Under the lock.
  void stop(std::size_t rank, const std::string& sentence) {
    if (!stopped[rank]) stopped[rank] = sentence;
    changed.notify_all();
  }
  void throw_if_stopped(std::size_t rank) const {
    if (stopped[rank]) throw CommAborted(*stopped[rank]);
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::optional<std::string>> stopped;     // by rank
  std::vector<std::deque<SideChannel::Message>> mail;  // by rank
};

/// What a member brings to a collective.
struct ThreadOffer {
  CommKind kind;
  const void* in = nullptr;
  void* out = nullptr;
  std::int64_t elements = 0;  // the same on all ranks
  DType dtype = DType::f32;
  Reduce reduce = Reduce::sum;
  int root = -1;
  std::span<const std::int64_t> receive_rows{}, send_rows{};
  int color = -1, key = 0;
};

class ThreadGroup {
 public:
  ThreadGroup(std::shared_ptr<ThreadWorld> its_world, std::string its_name,
              std::vector<int> its_members);

  /// Every member brings an offer, then all run `work`, in which they may read what the others
  /// brought, then all return. Throws on all ranks if they disagree on what they are doing. Until
  /// the last one has come a rank that is stopped leaves; from then on none does, since others read
  /// its tensors.
  void collective(int rank, const ThreadOffer& offer, const std::function<void()>& work);
  /// Within `work`.
  const ThreadOffer& offer(int rank) const { return offers_[static_cast<std::size_t>(rank)]; }

  /// As Comm::do_send_receive. A send waits for its receive.
  void send_receive(int rank, const ConstTensor& in, int to, const Tensor& out, int from);

  const std::shared_ptr<ThreadWorld> world;
  const std::string name;
  const std::vector<int> members;                      // ranks in the world
  std::map<int, std::shared_ptr<ThreadGroup>> splits;  // by color; of the latest split

 private:
  using Lock = std::unique_lock<std::mutex>;
  /// A message that waits for its receiver.
  struct Parcel {
    const ConstTensor* tensor;
    enum class State { waiting, claimed, taken } state;
  };

  std::size_t world_rank(int rank) const {
    return static_cast<std::size_t>(members[static_cast<std::size_t>(rank)]);
  }
  bool arrive();
  void meet(int rank, const ThreadOffer& offer);
  void meet_again();
  std::string disagreement() const;
  std::string row_disagreement() const;
  bool take(Lock& lock, int rank, const Tensor& out, int from, std::string& problem);
  void deliver(Lock& lock, int rank, Parcel& parcel, int to);

  std::vector<ThreadOffer> offers_;  // by rank
  std::size_t arrived_ = 0;
  std::uint64_t meetings_ = 0;
  std::map<std::pair<int, int>, Parcel*> parcels_;  // by (from, to)
};

}  // namespace hg
