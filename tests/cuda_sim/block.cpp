#include "cuda_sim/block.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/check.h"

namespace cuda_sim {
namespace {

thread_local Block* the_block = nullptr;

/// The last part of its path.
std::string_view file_of(const Where& where) {
  const std::string_view path = where.file_name();
  return path.substr(path.rfind('/') + 1);
}

bool same_place(const Where& a, const Where& b) {
  if (a.line() != b.line()) return false;
  return a.file_name() == b.file_name() || file_of(a) == file_of(b);
}

}  // namespace

constinit thread_local const Thread* the_thread = nullptr;

void fail(const std::string& sentence, const Where& where) {
  const uint3 thread = the_thread->thread, block = the_thread->block;
  hg::fail("{}:{}: thread ({}, {}, {}) of block ({}, {}, {}): {}", file_of(where), where.line(),
           thread.x, thread.y, thread.z, block.x, block.y, block.z, sentence);
}

Observer& observer() {
  static Observer observer;
  return observer;
}

Block& current_block() {
  HG_CHECK(the_block != nullptr, "device code runs outside of a kernel");
  return *the_block;
}

int barrier(bool predicate, const Where& where) {
  return current_block().barrier(predicate, where);
}

void Block::run(const std::function<void()>& kernel, uint3 position, dim3 grid, dim3 block,
                std::size_t shared_bytes, const Options& options) {
  kernel_ = &kernel;
  options_ = options;
  if (options.order == ThreadOrder::seeded)
    random_.seed(options.seed * 1000003 + position.x + position.y * 4099ULL +
                 position.z * 65537ULL);
  shared_.begin(shared_bytes, options.shared_memory);
  prepare(position, grid, block);
  Block* const outer = std::exchange(the_block, this);
  while (alive_ > 0 && error_.empty()) {
    if (ready_.empty()) {
      error_ = deadlock();
      break;
    }
    running_ = &pick();
    the_thread = &running_->view;
    running_->fiber.resume();
  }
  the_thread = nullptr;
  the_block = outer;
  if (!error_.empty()) throw hg::Error(error_);
  shared_.check();
}

void Block::prepare(uint3 position, dim3 grid, dim3 block) {
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  while (runners_.size() < threads) {
    runners_.push_back(std::make_unique<Runner>());
    runners_.back()->block = this;
  }
  warps_.assign((threads + kWarp - 1) / kWarp, {});
  ready_.clear();
  error_.clear();
  alive_ = threads;
  at_barrier_ = 0;
  predicates_ = 0;
  barriers_ = 0;
  for (unsigned i = 0; i < threads; ++i) {
    Runner& runner = *runners_[i];
    runner.view = {
        .thread = {i % block.x, i / block.x % block.y, i / (block.x * block.y)},
        .block = position,
        .block_size = block,
        .grid_size = grid,
        .number = i,
        .lane = i % kWarp,
        .warp = i / kWarp,
    };
    runner.open.clear();
    runner.groups.clear();
    runner.fiber.start(&Block::thread_main, &runner);
    warps_[i / kWarp].alive |= 1U << (i % kWarp);
    wake(runner);
  }
}

void Block::thread_main(void* argument) {
  auto& runner = *static_cast<Runner*>(argument);
  Block& block = *runner.block;
  try {
    (*block.kernel_)();
    block.finish(runner);
  } catch (const std::exception& e) {
    if (block.error_.empty()) block.error_ = e.what();
  }
  runner.fiber.end();
}

/// The rest may have waited for this thread alone.
void Block::finish(Runner& runner) {
  runner.state = State::done;
  --alive_;
  Warp& warp = warps_[runner.view.warp];
  warp.alive &= ~(1U << runner.view.lane);
  for (std::size_t i = warp.meetings.size(); i-- > 0;) complete_if_all_came(runner.view.warp, i);
  if (at_barrier_ > 0 && at_barrier_ == alive_) open_barrier();
}

Block::Runner& Block::pick() {
  if (options_.order == ThreadOrder::reverse) std::swap(ready_.front(), ready_.back());
  if (options_.order == ThreadOrder::seeded)
    std::swap(ready_.front(), ready_[random_() % ready_.size()]);
  Runner& runner = *ready_.front();
  ready_.pop_front();
  return runner;
}

void Block::wake(Runner& runner) {
  runner.state = State::ready;
  ready_.push_back(&runner);
}

/// Others run until one of them wakes this thread.
void Block::wait(State state, const Where& where) {
  Runner& own = *running_;
  own.state = state;
  own.where = where;
  own.fiber.suspend();
}

int Block::barrier(bool predicate, const Where& where) {
  if (at_barrier_ == 0) {
    barrier_ = where;
  } else if (!same_place(barrier_, where)) {
    fail(fmt::format("__syncthreads in divergent code: other threads of the block wait at {}:{}",
                     file_of(barrier_), barrier_.line()),
         where);
  }
  predicates_ += predicate ? 1 : 0;
  if (++at_barrier_ == alive_) {
    open_barrier();
  } else {
    wait(State::at_barrier, where);
  }
  return last_predicates_;
}

void Block::open_barrier() {
  last_predicates_ = std::exchange(predicates_, 0);
  at_barrier_ = 0;
  ++barriers_;
  for (const auto& runner : runners_)
    if (runner->state == State::at_barrier) wake(*runner);
}

std::string Block::deadlock() const {
  constexpr int kNamed = 4;
  std::string words = "the threads of a block wait for each other for ever:";
  int named = 0;
  const Runner* last = nullptr;
  for (const auto& runner : runners_) {
    if (runner->state == State::done || runner->state == State::ready) continue;
    const bool same = last != nullptr && last->state == runner->state &&
                      last->where.line() == runner->where.line();
    last = runner.get();
    if (same || named++ == kNamed) continue;
    words += fmt::format(
        " from thread {} on {} at {}:{};", runner->view.number,
        runner->state == State::at_barrier ? "in __syncthreads" : "in an operation of their warp",
        file_of(runner->where), runner->where.line());
  }
  words.back() = '.';
  return words;
}

}  // namespace cuda_sim
