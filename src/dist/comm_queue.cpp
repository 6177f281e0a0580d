#include "dist/comm_queue.h"

#include <algorithm>
#include <utility>

#include "core/clock.h"

namespace hg {

ThreadQueue::ThreadQueue(Comm& world)
    : world_(world), exceptions_(std::uncaught_exceptions()), thread_([this] { run(); }) {}

ThreadQueue::~ThreadQueue() {
  leave(exceptions_);
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

CommQueue::Ticket ThreadQueue::submit(Call call) {
  const std::scoped_lock lock(mutex_);
  if (!error_) calls_.push_back(std::move(call));
  changed_.notify_all();
  return ++submitted_;
}

void ThreadQueue::wait(Ticket ticket) {
  std::unique_lock lock(mutex_);
  HG_CHECK(ticket <= submitted_, "waiting for call {}, but {} have been submitted", ticket,
           submitted_);
  const Clock::time_point start = Clock::now();
  changed_.wait(lock, [&] { return done_ >= ticket || error_; });
  seconds_.waiting += seconds_since(start);
  if (done_ < ticket) std::rethrow_exception(error_);
}

void ThreadQueue::wait_all() {
  std::unique_lock lock(mutex_);
  const Ticket last = submitted_;
  lock.unlock();
  wait(last);
}

void ThreadQueue::leave(int exceptions) noexcept {
  std::unique_lock lock(mutex_);
  if (std::uncaught_exceptions() > exceptions) {
    cancel(lock);
  } else {
    changed_.wait(lock, [&] { return done_ == submitted_ || error_; });
  }
}

/// The others may never come, and what the calls work on is about to go.
void ThreadQueue::cancel(std::unique_lock<std::mutex>& lock) {
  calls_.clear();
  const std::string sentence = fmt::format("rank {} failed meanwhile", world_.rank());
  if (running_) world_.interrupt(sentence);
  changed_.wait(lock, [&] { return !running_; });
  if (!error_) error_ = std::make_exception_ptr(CommAborted(sentence));
}

CommQueue::Seconds ThreadQueue::seconds() const {
  const std::scoped_lock lock(mutex_);
  return seconds_;
}

void ThreadQueue::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stop_ || !calls_.empty(); });
    if (calls_.empty()) return;
    const Call call = std::move(calls_.front());
    calls_.pop_front();
    running_ = true;
    lock.unlock();
    const Clock::time_point start = Clock::now();
    std::exception_ptr error;
    try {
      call(ctx_);
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

StreamQueue::StreamQueue(std::shared_ptr<GpuStream> compute, std::shared_ptr<GpuStream> background)
    : compute_(std::move(compute)) {
  ctx_.device = Device::cuda;
  ctx_.gpu = std::move(background);
}

CommQueue::Ticket StreamQueue::submit(Call call) {
  constexpr std::size_t kKept = 256;  // of older calls, the next mark serves as well
  ctx_.gpu->wait_for(compute_->mark());
  call(ctx_);
  marks_.push_back(ctx_.gpu->mark());
  if (marks_.size() > kKept) marks_.pop_front();
  return ++submitted_;
}

void StreamQueue::wait(Ticket ticket) {
  HG_CHECK(ticket <= submitted_, "waiting for call {}, but {} have been submitted", ticket,
           submitted_);
  if (marks_.empty()) return;
  const Ticket oldest = submitted_ - static_cast<Ticket>(marks_.size()) + 1;
  const auto at = marks_.begin() + (std::max(ticket, oldest) - oldest);
  // What has been waited for once leaves no mark: a recording must not wait for what was before it.
  if (*at == nullptr) return;
  compute_->wait_for(*at);
  for (auto its = at + 1; its != marks_.begin() && *--its != nullptr;) its->reset();
}

void StreamQueue::leave(int exceptions) noexcept {
  if (std::uncaught_exceptions() > exceptions) return;  // the GPU may never be done
  try {
    ctx_.gpu->synchronize();
  } catch (const std::exception&) {  // what failed has been, or will be, said elsewhere
  }
}

}  // namespace hg
