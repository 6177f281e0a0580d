// What a rank did last in its communicators: for the message and the file that explain a job that
// stopped.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/dtype.h"

namespace hg {

enum class CommKind : std::uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  all_to_all,
  broadcast,
  send,
  receive,
  barrier,
  split,
  gpu_wait,  // of the host, for all that its GPU was given
};
inline constexpr int kCommKinds = 10;
std::string_view name_of(CommKind kind);

/// One call of one rank. Calls that belong together carry the same channel and sequence number on
/// every rank concerned: the n-th collective of a group, the n-th message from one rank to another.
struct CommEvent {
  CommKind kind;
  std::string group;                                // the communicator's name
  std::shared_ptr<const std::vector<int>> members;  // its ranks in the world
  int peer = -1;                                    // rank in the world; of send and receive
  std::uint64_t channel = 0;
  std::int64_t sequence = 0;  // from 1
  std::string label;          // the caller's words, such as "layers.7 gradients"
  std::int64_t elements = 0;
  DType dtype = DType::f32;
  Clock::time_point entered{}, left{};
  bool finished = false;  // false while pending, and for good if it ended with an exception

  /// "all_reduce #7 of dp (layers.7 gradients)"
  std::string to_string() const;
};

/// The number that names a group's collectives, or the messages between two of its ranks.
std::uint64_t channel_of(std::string_view group, const std::vector<int>& members, int from = -1,
                         int to = -1);

/// The calls of one rank in all its communicators; any thread may ask.
class FlightRecord {
 public:
  static constexpr std::size_t kKept = 256;  // finished calls

  explicit FlightRecord(int rank) : rank_(rank) {}

  /// Begins a call: gives it the channel's next sequence number and the time. Returns its id.
  std::int64_t enter(CommEvent event);
  void leave(std::int64_t id, bool finished);

  /// How many calls this rank has begun in a channel.
  std::int64_t begun(std::uint64_t channel) const;
  bool pending(std::int64_t id) const;
  /// The pending call begun first, with its id.
  std::optional<std::pair<std::int64_t, CommEvent>> oldest_pending() const;
  /// The call that ended last.
  std::optional<CommEvent> last() const;
  /// The calls that ended last, oldest first, and then those pending.
  std::vector<CommEvent> events() const;
  /// Where this rank is, as what follows "it": "is in barrier #2 of world for 3.1 s".
  std::string where() const;
  /// Everything above with times as seconds since 1970; `reason` says why it was written.
  std::string to_json(std::string_view reason) const;

  int rank() const { return rank_; }

 private:
  const int rank_;
  mutable std::mutex mutex_;
  std::int64_t next_id_ = 0;
  std::map<std::int64_t, CommEvent> pending_;
  std::deque<CommEvent> ended_;
  std::map<std::uint64_t, std::int64_t> begun_;  // by channel
};

}  // namespace hg
