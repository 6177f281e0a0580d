// The ranks of a simulated communicator, where they meet and look at each other's memory.
#pragma once

#include <nccl.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/clock.h"

namespace cuda_sim {

/// Why a communicator cannot go on.
struct NcclFailure : std::runtime_error {
  NcclFailure(ncclResult_t its_code, const std::string& words)
      : std::runtime_error(words), code(its_code) {}
  ncclResult_t code;
};

/// What one rank asks for.
struct Ask {
  enum class Kind { all_reduce, reduce_scatter, all_gather, broadcast, split, send, receive };
  Kind kind;
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t count = 0;  // as in the call: of the piece, where there are pieces
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t op = ncclSum;
  int root = -1;              // of broadcast
  int peer = -1;              // of send and receive
  int color = -1, key = 0;    // of split
  std::int64_t recorded = 0;  // if by a graph: the how manieth of the communicator's that were

  /// "AllReduce of 7 float32, max"; equal for calls that belong together. Whether a call is of a
  /// graph is the same on all ranks, and so is of which.
  std::string words() const;
};

std::size_t size_of(ncclDataType_t type);

/// Does a collective for all ranks, whose asks these are: adds as a ring does, each piece from
/// another rank on, rounding at every rank; the maximum is fmax.
void perform(const std::vector<Ask>& asks);

class Clique {
 public:
  Clique(int size, double timeout) : timeout_(timeout), devices_(std::size_t(size), -1) {}

  int size() const { return static_cast<int>(devices_.size()); }
  /// Whether all have joined.
  bool complete() const;

  // Each of these is called again and again by a rank, until it returns true: when all that it
  // waits for have come. Throws NcclFailure when the clique has failed, or does then: because ranks
  // ask for different things, or after the time-out because one did not come.

  /// Takes part in the making.
  bool join(int rank, int device, hg::Clock::time_point since);
  /// The collective of this number, which the last rank to come performs.
  bool collective(int rank, std::int64_t number, const Ask& ask, hg::Clock::time_point since);
  /// Sends and receives that go on together; `begun` is the caller's to keep, empty at first.
  struct Parcel {
    Ask ask;
    bool done = false;
  };
  using Parcels = std::vector<std::shared_ptr<Parcel>>;
  bool exchange(int rank, const std::vector<Ask>& asks, Parcels& begun,
                hg::Clock::time_point since);

  /// Makes all ranks' calls fail.
  void fail(ncclResult_t code, const std::string& words);
  void throw_if_failed() const;

  /// Within a split, once `collective` has returned true: the group of this rank's color and its
  /// rank there; null without.
  std::pair<std::shared_ptr<Clique>, int> part_of(int rank, std::int64_t number);

 private:
  struct Meeting {
    std::vector<std::optional<Ask>> asks;  // by rank
    int arrived = 0, left = 0;
    bool done = false;
    std::map<int, std::shared_ptr<Clique>> parts;  // by color
  };
  using Lock = std::unique_lock<std::mutex>;

  [[noreturn]] void fail(Lock& lock, ncclResult_t code, const std::string& words);
  void throw_if_failed(Lock& lock) const;
  /// Fails if it has been too long.
  bool wait_for(Lock& lock, int rank, const std::string& what, const std::vector<int>& missing,
                hg::Clock::time_point since);
  void hold(Lock& lock, Meeting& meeting);
  void post(Lock& lock, int rank, const std::shared_ptr<Parcel>& parcel);

  const double timeout_;
  mutable std::mutex mutex_;
  std::vector<int> devices_;  // of the ranks that have joined; else -1
  std::map<std::int64_t, Meeting> meetings_;
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<Parcel>>> sends_, receives_;
  std::optional<NcclFailure> failure_;
};

}  // namespace cuda_sim
