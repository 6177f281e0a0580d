// Memory of simulated devices that nobody can touch but what runs on a device: host code that does
// ends the program, as it would with a GPU.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>

namespace cuda_sim {

class GuardedHeap {
 public:
  GuardedHeap();
  ~GuardedHeap();
  GuardedHeap(const GuardedHeap&) = delete;
  GuardedHeap& operator=(const GuardedHeap&) = delete;

  /// Page-aligned; null if there is no more.
  void* allocate(std::size_t bytes);
  void release(void* memory);

  /// While one lives, the memory can be touched, by whatever thread.
  class Open {
   public:
    explicit Open(GuardedHeap* heap);  // null: nothing to open
    ~Open();
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    GuardedHeap* heap_;
  };

 private:
  void protect(int rights) const;

  std::byte* base_;
  std::size_t used_ = 0;
  std::mutex mutex_;
  std::map<void*, std::size_t> sizes_;
  int open_ = 0;
};

}  // namespace cuda_sim
