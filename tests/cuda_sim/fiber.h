// Fibers: what a CUDA thread runs on, with a stack of its own, so that it can stop in the middle.
#pragma once

#include <cstddef>
#include <memory>

namespace cuda_sim {

/// A function on a stack of its own. One OS thread resumes it and gets back control when the fiber
/// suspends or the function ends; a fiber that is never resumed again is simply forgotten.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume() calls entry(argument), which must not throw. What ran before is forgotten.
  void start(void (*entry)(void*), void* argument);
  /// Runs the fiber, from outside of any.
  void resume();
  /// Goes back to who resumed this fiber, from within.
  void suspend();
  /// The same, for good: the function may not return otherwise.
  [[noreturn]] void end();

  /// Whether `address` is on the fiber's stack.
  bool owns(const void* address) const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace cuda_sim
