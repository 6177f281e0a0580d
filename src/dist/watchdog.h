// Ends a job that hangs, and says why: which rank, in which collective.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "dist/comm.h"

namespace hg {

struct WatchdogOptions {
  double timeout = 600;           ///< seconds that a call may be pending
  double grace = 2;               ///< seconds for the other ranks to say where they are
  std::filesystem::path records;  ///< folder for flight_rank_N.json of a failed job; may be empty
  /// Gets the sentence on the rank that ends the job, before it ends; on the watchdog's thread.
  std::function<void(const std::string&)> report;
  /// Ends the processes with an exit code; absent: Comm::abort.
  std::function<void(int exit_code)> abort = {};
};

/// What a rank says of itself when another one waits for it.
struct RankAnswer {
  int rank;
  bool arrived = false;              // has begun the call in question
  std::optional<std::string> where;  // FlightRecord::where(); nothing if the rank is silent
  bool waits = false;                // in some other call
};

/// "rank 2 did not arrive at all_reduce #7 of dp (layers.7 gradients) within 30 s: it is in ...".
std::string stall_sentence(const CommEvent& event, double seconds,
                           std::span<const RankAnswer> answers);

/// A thread per rank that looks at the rank's flight record. When a call is pending for longer than
/// the time-out, it asks the ranks concerned where they are, reports the culprits, writes the
/// flight record, tells all other watchdogs, which write theirs, and aborts the world.
class Watchdog {
 public:
  /// `world` must be a whole world, not a group of it, and outlive the watchdog.
  Watchdog(Comm& world, WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// For the handler of an exception that ends this rank: writes the record, tells the others, and
  /// aborts the world, on all ranks with this exit code, not with 1 as for one that hangs. Does not
  /// report: the caller knows. Over MPI it does not return.
  void fail(const std::string& sentence, int exit_code = 1);

 private:
  /// Why the job ends.
  struct Failure {
    std::string sentence;
    int exit_code = 1;
    int from = -1;  // the rank that has told it; -1: this one
  };

  void watch();
  void pause();
  bool stopping() const;
  void tell(int rank, const std::string& text);
  std::optional<SideChannel::Message> next_message();
  void handle_messages();
  void investigate(std::int64_t id, const CommEvent& event);
  bool wait_for_others(double seconds, const std::function<bool()>& enough);
  void end(const Failure& failure);
  void write_record(const std::string& reason);

  Comm& world_;
  const WatchdogOptions options_;
  std::unique_ptr<SideChannel> channel_;

  // Of the watchdog's thread alone.
  std::map<int, RankAnswer> answers_;  // to the latest question
  std::int64_t question_ = 0;
  std::optional<Failure> told_;  // by another rank
  int written_ = 0;              // other ranks' records

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  bool stop_ = false, ended_ = false;
  std::optional<Failure> failure_;  // of this rank
  std::thread thread_;              // last: it uses all of the above
};

}  // namespace hg
