#include "dist/comm_queue.h"

#include "core/clock.h"

namespace hg {

CommQueue::CommQueue(Comm& world)
    : world_(world), exceptions_(std::uncaught_exceptions()), thread_([this] { run(); }) {}

CommQueue::~CommQueue() {
  leave(exceptions_);
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

CommQueue::Ticket CommQueue::submit(std::function<void()> call) {
  const std::scoped_lock lock(mutex_);
  if (!error_) calls_.push_back(std::move(call));
  changed_.notify_all();
  return ++submitted_;
}

void CommQueue::wait(Ticket ticket) {
  std::unique_lock lock(mutex_);
  HG_CHECK(ticket <= submitted_, "waiting for call {}, but {} have been submitted", ticket,
           submitted_);
  const Clock::time_point start = Clock::now();
  changed_.wait(lock, [&] { return done_ >= ticket || error_; });
  seconds_.waiting += seconds_since(start);
  if (done_ < ticket) std::rethrow_exception(error_);
}

void CommQueue::wait_all() {
  std::unique_lock lock(mutex_);
  const Ticket last = submitted_;
  lock.unlock();
  wait(last);
}

void CommQueue::leave(int exceptions) noexcept {
  std::unique_lock lock(mutex_);
  if (std::uncaught_exceptions() > exceptions) {
    cancel(lock);
  } else {
    changed_.wait(lock, [&] { return done_ == submitted_ || error_; });
  }
}

/// The others may never come, and what the calls work on is about to go.
void CommQueue::cancel(std::unique_lock<std::mutex>& lock) {
  calls_.clear();
  const std::string sentence = fmt::format("rank {} failed meanwhile", world_.rank());
  if (running_) world_.interrupt(sentence);
  changed_.wait(lock, [&] { return !running_; });
  if (!error_) error_ = std::make_exception_ptr(CommAborted(sentence));
}

CommQueue::Seconds CommQueue::seconds() const {
  const std::scoped_lock lock(mutex_);
  return seconds_;
}

void CommQueue::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !calls_.empty(); });
    if (calls_.empty()) return;
    const std::function<void()> call = std::move(calls_.front());
    calls_.pop_front();
    running_ = true;
    lock.unlock();
    const Clock::time_point start = Clock::now();
    std::exception_ptr error;
    try {
      call();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    running_ = false;
    seconds_.busy += seconds_since(start);
    if (error) {
      error_ = error;
      calls_.clear();
    } else {
      ++done_;
    }
    changed_.notify_all();
  }
}

}  // namespace hg
