#include "cuda_sim/guarded_heap.h"

#include <execinfo.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>

namespace cuda_sim {
namespace {

constexpr std::size_t kPage = 4096, kHugePage = 2 << 20, kAddresses = std::size_t{64} << 30;
// Of the heap that lives: what a signal handler can know.
std::byte* the_base = nullptr;

void say(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void explain(int, siginfo_t* info, void*) {
  const auto* address = static_cast<std::byte*>(info->si_addr);
  if (the_base != nullptr && the_base <= address && address < the_base + kAddresses)
    say("cuda_sim: code of the host touches memory of a device\n");
  void* frames[32];
  ::backtrace_symbols_fd(frames, ::backtrace(frames, 32), STDERR_FILENO);
  ::signal(SIGSEGV, SIG_DFL);  // returning meets the same instruction again
}

}  // namespace

GuardedHeap::GuardedHeap() {
  void* addresses =
      ::mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (addresses == MAP_FAILED) throw std::runtime_error("no addresses for a guarded heap");
  base_ = the_base = static_cast<std::byte*>(addresses);
  used_ = -reinterpret_cast<std::uintptr_t>(addresses) % kHugePage;  // to the first whole one
  ::madvise(base_, kAddresses, MADV_HUGEPAGE);  // the fewer pages, the sooner their rights change
  struct sigaction action = {};
  action.sa_sigaction = explain;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGSEGV, &action, nullptr);
}

GuardedHeap::~GuardedHeap() {
  ::signal(SIGSEGV, SIG_DFL);
  the_base = nullptr;
  ::munmap(base_, kAddresses);
}

void* GuardedHeap::allocate(std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  const std::size_t size = (bytes / kPage + 2) * kPage;  // a page at least between two
  if (used_ + size > kAddresses) return nullptr;
  void* memory = base_ + used_;
  used_ += size;
  sizes_[memory] = size;
  if (open_ > 0) protect(PROT_READ | PROT_WRITE);
  return memory;
}

void GuardedHeap::release(void* memory) {
  const std::scoped_lock lock(mutex_);
  ::madvise(memory, sizes_.at(memory), MADV_DONTNEED);
  sizes_.erase(memory);
}

/// Of all that was ever allocated, and of the rest of its last page.
void GuardedHeap::protect(int rights) const {
  const auto end = reinterpret_cast<std::uintptr_t>(base_) + used_;
  const std::size_t whole = used_ + -end % kHugePage;
  if (used_ > 0 && ::mprotect(base_, whole, rights) != 0)
    throw std::runtime_error("cannot change the rights of a guarded heap");
}

GuardedHeap::Open::Open(GuardedHeap* heap) : heap_(heap) {
  if (heap == nullptr) return;
  const std::scoped_lock lock(heap->mutex_);
  if (heap->open_++ == 0) heap->protect(PROT_READ | PROT_WRITE);
}

GuardedHeap::Open::~Open() {
  if (heap_ == nullptr) return;
  const std::scoped_lock lock(heap_->mutex_);
  if (--heap_->open_ == 0) heap_->protect(PROT_NONE);
}

}  // namespace cuda_sim
