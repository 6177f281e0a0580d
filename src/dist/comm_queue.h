// Collectives in the background, as on a communication stream of a GPU: backward goes on while the
// gradients of the layer above are being reduced.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "dist/comm.h"

namespace hg {

/// A thread that runs submitted calls one after the other. Ranks must submit in the same order, and
/// use no Comm of a call elsewhere until it is done.
class CommQueue {
 public:
  using Ticket = std::int64_t;

  struct Seconds {
    double busy = 0;     ///< running calls
    double waiting = 0;  ///< callers blocked in wait: what the calls do not hide
  };

  /// `world` is interrupted when the queue dies by an exception while a call is running.
  explicit CommQueue(Comm& world);
  /// Finishes what was submitted; by an exception, drops it.
  ~CommQueue();
  CommQueue(const CommQueue&) = delete;
  CommQueue& operator=(const CommQueue&) = delete;

  Ticket submit(std::function<void()> call);
  /// Blocks until the call is done. After a call has thrown, later ones are not run, and waiting
  /// for it or for them rethrows.
  void wait(Ticket ticket);
  /// Waits for all that was submitted.
  void wait_all();
  /// For owners of memory that calls work on, before it goes: finishes what was submitted; by an
  /// exception that came after there were `exceptions`, drops it and ends the call that is running.
  void leave(int exceptions) noexcept;

  Seconds seconds() const;

 private:
  void run();
  void cancel(std::unique_lock<std::mutex>& lock);

  Comm& world_;
  const int exceptions_;  // alive when the queue was made
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> calls_;
  Ticket submitted_ = 0, done_ = 0;
  std::exception_ptr error_;  // of call done_ + 1
  bool stop_ = false, running_ = false;
  Seconds seconds_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace hg
