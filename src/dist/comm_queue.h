// Collectives in the background, as on a communication stream of a GPU: backward goes on while the
// gradients of the layer above are being reduced.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

#include "core/context.h"
#include "dist/comm.h"

namespace hg {

/// Calls that are made in the background, one after the other. Ranks must submit in the same order,
/// and use no Comm of a call elsewhere until it is done. Calls get a context to run ops with.
class CommQueue {
 public:
  using Ticket = std::int64_t;
  using Call = std::function<void(Context&)>;

  struct Seconds {
    double busy = 0;     ///< running calls
    double waiting = 0;  ///< callers blocked in wait: what the calls do not hide
  };

  virtual ~CommQueue() = default;
  CommQueue(const CommQueue&) = delete;
  CommQueue& operator=(const CommQueue&) = delete;

  virtual Ticket submit(Call call) = 0;
  /// Until the call is done. After a call has thrown, later ones are not run, and waiting for it or
  /// for them rethrows.
  virtual void wait(Ticket ticket) = 0;
  /// Waits for all that was submitted.
  virtual void wait_all() = 0;
  /// For owners of memory that calls work on, before it goes: finishes what was submitted; by an
  /// exception that came after there were `exceptions`, drops it and ends the call that is running.
  virtual void leave(int exceptions) noexcept = 0;
  /// What was submitted in a recording will not be done (core/gpu_graph.h): nobody is to wait for
  /// it. Everything before must have been waited for.
  virtual void forget() {}

  virtual Seconds seconds() const = 0;

 protected:
  CommQueue() = default;
};

/// A thread of the host makes the calls.
class ThreadQueue final : public CommQueue {
 public:
  /// `world` is interrupted when the queue dies by an exception while a call is running.
  explicit ThreadQueue(Comm& world);
  /// Finishes what was submitted; by an exception, drops it.
  ~ThreadQueue() override;

  Ticket submit(Call call) override;
  void wait(Ticket ticket) override;
  void wait_all() override;
  void leave(int exceptions) noexcept override;
  Seconds seconds() const override;

 private:
  void run();
  void cancel(std::unique_lock<std::mutex>& lock);

  Comm& world_;
  Context ctx_;           // of the thread
  const int exceptions_;  // alive when the queue was made
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> calls_;
  Ticket submitted_ = 0, done_ = 0;
  std::exception_ptr error_;  // of call done_ + 1
  bool stop_ = false, running_ = false;
  Seconds seconds_;
  std::thread thread_;  // last: it uses all of the above
};

/// A GPU's second stream does what calls enqueue there, behind what the first had when they were
/// submitted; who waits is the first stream, never the host. While the first is being recorded,
/// calls are recorded with it, if wait_all comes before the recording, and again at its end.
class StreamQueue final : public CommQueue {
 public:
  /// Comms of calls must have been made with `background`.
  StreamQueue(std::shared_ptr<GpuStream> compute, std::shared_ptr<GpuStream> background);

  Ticket submit(Call call) override;
  void wait(Ticket ticket) override;
  void wait_all() override { wait(submitted_); }
  void leave(int exceptions) noexcept override;
  void forget() override { marks_.clear(); }
  /// Nothing: the host does not wait.
  Seconds seconds() const override { return {}; }

 private:
  std::shared_ptr<GpuStream> compute_;
  Context ctx_;  // of the second stream
  Ticket submitted_ = 0;
  std::deque<GpuStream::Mark> marks_;  // behind the latest calls, the last behind call submitted_
};

}  // namespace hg
