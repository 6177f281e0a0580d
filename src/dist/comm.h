// Communication between ranks: collectives on the caller's contiguous tensors.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "dist/flight_record.h"

namespace hg {

enum class Reduce : std::uint8_t { sum, max };

/// What a call on a communicator throws after abort or interrupt: a consequence, not the cause.
class CommAborted : public Error {
 public:
  using Error::Error;
};

struct CommCount {
  std::int64_t calls = 0;
  std::int64_t bytes = 0;  // that this rank sends
};

/// Calls and bytes sent by kind. The bytes are those of the ring algorithms, whatever the
/// implementation does, n being the size and B the bytes of the whole tensor; divisions round down:
///   all_reduce 2 (n-1)/n B;  reduce_scatter (n-1)/n B of `in`;  all_gather (n-1)/n B of `out`;
///   all_to_all the rows for other ranks;  broadcast B, and 0 on the rank before the root, where
///   the ring ends;  send B;  receive, barrier, split 0.
struct CommCounts {
  std::array<CommCount, kCommKinds> by_kind{};

  const CommCount& operator[](CommKind kind) const {
    return by_kind[static_cast<std::size_t>(kind)];
  }
  CommCount total() const;
};

/// Short messages between watchdogs, beside the collectives and never waiting for them.
class SideChannel {
 public:
  struct Message {
    int from;
    std::string text;
  };
  virtual ~SideChannel() = default;
  virtual void send(int to, const std::string& text) = 0;
  /// The next message that has come, if any.
  virtual std::optional<Message> poll() = 0;
};

/// A group of ranks. Every member makes the same collective calls in the same order; a call returns
/// when this rank's tensors may be used again: on a GPU, by work behind it on the stream that the
/// Comm was made with. A Comm is for one thread at a time; two threads of a rank may use two Comms.
///
/// Tensors are f32, bf16 or i32, contiguous, of any shape; no elements at all is fine. A result has
/// the same bits on every rank; sums of i32 wrap. On host memory sums of bf16 are made in f32 and
/// rounded once, the maximum of anything and NaN is NaN, and all implementations add in rank order,
/// ((x0 + x1) + x2) + ..., so a result has the same bits in every run, and over threads as over
/// MPI. comm_nccl.h says what NCCL does instead.
///
/// `label` says in messages what the call was for: "layers.7 gradients".
class Comm {
 public:
  /// What an implementation is made with.
  struct Identity {
    int rank;
    std::string name;
    std::vector<int> members;
    std::shared_ptr<FlightRecord> record;
  };

  virtual ~Comm() = default;
  Comm(const Comm&) = delete;
  Comm& operator=(const Comm&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(members_->size()); }
  const std::string& name() const { return name_; }
  /// The ranks of the world that are in this group, by rank in the group.
  const std::vector<int>& members() const { return *members_; }

  /// x = the reduction of every rank's x.
  void all_reduce(const Tensor& x, Reduce reduce, std::string_view label = {});
  /// out = the sum of every rank's `in`, of which rank r gets the r-th of n equal pieces. `out` may
  /// be this rank's piece of `in`.
  void reduce_scatter(const Tensor& out, const ConstTensor& in, std::string_view label = {});
  /// out = every rank's `in`, by rank. `in` may be this rank's piece of `out`.
  void all_gather(const Tensor& out, const ConstTensor& in, std::string_view label = {});
  /// Rows, the first axis: `in` holds send_rows[r] for each rank r in order, `out` receive_rows[r]
  /// from each rank r.
  void all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                  const ConstTensor& in, std::span<const std::int64_t> send_rows,
                  std::string_view label = {});
  /// x = the root's x.
  void broadcast(const Tensor& x, int root, std::string_view label = {});

  /// Messages from one rank to another arrive in order. A send may wait for its receive.
  void send(const ConstTensor& in, int to, std::string_view label = {});
  void receive(const Tensor& out, int from, std::string_view label = {});
  /// Both at once, for rings and exchanges where everyone sends first.
  void send_receive(const ConstTensor& in, int to, const Tensor& out, int from,
                    std::string_view label = {});

  /// Returns when every rank has called it.
  void barrier(std::string_view label = {});

  /// Ranks of the same color form a group, ordered by key, then by rank here. A negative color gets
  /// none: null. `name` is for messages, "tp", and tells groups of the same members apart.
  std::unique_ptr<Comm> split(int color, int key, std::string name);

  /// Ends the job on every rank: over MPI the processes; between threads every waiting and later
  /// call on any Comm of the world throws CommAborted. The first sentence counts.
  virtual void abort(const std::string& sentence) = 0;
  /// Makes waiting and later calls of this rank alone throw CommAborted, on all Comms of its world.
  /// It cannot take part again; what is left to do is abort.
  virtual void interrupt(const std::string& sentence) = 0;

  /// Of a world, not of a group split off. Null where there is nobody else.
  virtual std::unique_ptr<SideChannel> side_channel() = 0;

  /// Calls and bytes so far of this Comm; those split off count for themselves.
  CommCounts counts() const;
  /// That its callers have spent in calls.
  double seconds() const { return 1e-9 * static_cast<double>(nanoseconds_.load()); }
  /// Shared by this rank's world and all Comms split off.
  FlightRecord& record() const { return *record_; }
  const std::shared_ptr<FlightRecord>& shared_record() const { return record_; }

 protected:
  explicit Comm(Identity identity);

 private:
  // What an implementation does, once operands are checked and the call is counted and recorded.
  virtual void do_all_reduce(const Tensor& x, Reduce reduce) = 0;
  virtual void do_reduce_scatter(const Tensor& out, const ConstTensor& in) = 0;
  virtual void do_all_gather(const Tensor& out, const ConstTensor& in) = 0;
  virtual void do_all_to_all(const Tensor& out, std::span<const std::int64_t> receive_rows,
                             const ConstTensor& in, std::span<const std::int64_t> send_rows) = 0;
  virtual void do_broadcast(const Tensor& x, int root) = 0;
  /// `to` or `from` is -1 where there is nothing to send or receive.
  virtual void do_send_receive(const ConstTensor& in, int to, const Tensor& out, int from) = 0;
  virtual void do_barrier() = 0;
  virtual std::unique_ptr<Comm> do_split(int color, int key, std::string name) = 0;

  class Call;
  struct AtomicCount {
    std::atomic<std::int64_t> calls{0}, bytes{0};
  };

  int rank_;
  std::string name_;
  std::shared_ptr<const std::vector<int>> members_;
  std::shared_ptr<FlightRecord> record_;
  std::array<AtomicCount, kCommKinds> counts_;
  std::atomic<std::int64_t> nanoseconds_{0};
};

}  // namespace hg
