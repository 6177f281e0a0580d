#include "cuda_sim/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#define CUDA_SIM_UCONTEXT
#endif
#if defined(CUDA_SIM_UCONTEXT)
#include <ucontext.h>
#else
// Saves what a function must preserve on the stack it leaves, and takes it from the one it enters.
// Five to eight times as fast as swapcontext, which makes two system calls.
asm(R"(
.text
.globl cuda_sim_switch
.type cuda_sim_switch, @function
cuda_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_sim_switch, . - cuda_sim_switch
)");
extern "C" void cuda_sim_switch(void** leave, void* enter);
#endif

namespace cuda_sim {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 512 << 10;  // frames are several times as large
#else
constexpr std::size_t kStackBytes = 64 << 10;
#endif

#if defined(CUDA_SIM_UCONTEXT)
using Registers = ucontext_t;
void switch_context(Registers& leave, Registers& enter) { swapcontext(&leave, &enter); }
#else
using Registers = void*;  // the top of the stack that they were saved to
void switch_context(Registers& leave, Registers& enter) { cuda_sim_switch(&leave, enter); }
#endif

}  // namespace

struct Fiber::State {
  std::byte* memory = nullptr;  // a page that nobody may touch, then the stack
  std::size_t guard = 0;
  std::size_t colour = 0;  // bytes that the stack begins below its end
  Registers inside{}, outside{};
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  // AddressSanitizer's: what it keeps of the stack that is left, and the resumer's stack.
  void *fake_inside = nullptr, *fake_outside = nullptr;
  const void* outside_bottom = nullptr;
  std::size_t outside_bytes = 0;

  std::byte* stack() const { return memory + guard; }

  void leave([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_inside, outside_bottom,
                                   outside_bytes);
#endif
    switch_context(inside, outside);
    entered();
  }
  void entered() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_inside, &outside_bottom, &outside_bytes);
#endif
  }
};

namespace {

thread_local void* the_starting = nullptr;  // State of the fiber that is entered for the first time

}  // namespace

Fiber::Fiber() : state_(std::make_unique<State>()) {
  state_->guard = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, state_->guard + kStackBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, state_->guard, PROT_NONE) != 0)
    throw std::bad_alloc();
  state_->memory = static_cast<std::byte*>(memory);
  // Stacks that began at the same place of a page would meet in few sets of the caches.
  constexpr std::size_t kLine = 64, kColours = 61;
  state_->colour =
      reinterpret_cast<std::uintptr_t>(memory) / (state_->guard + kStackBytes) % kColours * kLine;
}

Fiber::~Fiber() { munmap(state_->memory, state_->guard + kStackBytes); }

void Fiber::start(void (*entry)(void*), void* argument) {
  state_->entry = entry;
  state_->argument = argument;
  state_->fake_inside = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(state_->stack(), kStackBytes);  // what ran before left its frames
#endif
  void (*const first)() = [] {
    auto* state = static_cast<State*>(the_starting);
    state->entered();
    state->entry(state->argument);
    std::abort();
  };
#if defined(CUDA_SIM_UCONTEXT)
  getcontext(&state_->inside);
  state_->inside.uc_stack.ss_sp = state_->stack();
  state_->inside.uc_stack.ss_size = kStackBytes;
  state_->inside.uc_link = nullptr;
  makecontext(&state_->inside, first, 0);
#else
  // What the switch pops: six registers, then where it returns to; the rest aligns the stack.
  auto* top = reinterpret_cast<void**>(state_->stack() + kStackBytes - state_->colour) - 8;
  std::fill(top, top + 8, nullptr);
  top[6] = reinterpret_cast<void*>(first);
  state_->inside = top;
#endif
}

void Fiber::resume() {
  the_starting = state_.get();
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&state_->fake_outside, state_->stack(), kStackBytes);
#endif
  switch_context(state_->outside, state_->inside);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(state_->fake_outside, nullptr, nullptr);
#endif
}

void Fiber::suspend() { state_->leave(false); }

void Fiber::end() {
  state_->leave(true);
  std::abort();
}

bool Fiber::owns(const void* address) const {
  const auto offset =
      reinterpret_cast<std::uintptr_t>(address) - reinterpret_cast<std::uintptr_t>(state_->stack());
  return offset < kStackBytes;
}

}  // namespace cuda_sim
