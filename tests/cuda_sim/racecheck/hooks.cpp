// What kernels call that were compiled with -fsanitize=thread, instead of ThreadSanitizer's own
// runtime. Its names and types are GCC's and Clang's.
#include <cstddef>
#include <cstdint>

#include "cuda_sim/racecheck/race_check.h"

namespace {

void note(const void* memory, std::size_t bytes, bool write, bool atomic, void* program_counter) {
  cuda_sim::RaceCheck::instance().access(memory, bytes, write, atomic, program_counter);
}

}  // namespace

#define HG_CALLER __builtin_return_address(0)

#define HG_ACCESSES(bytes)                                                                \
  void __tsan_read##bytes(void* p) { note(p, bytes, false, false, HG_CALLER); }           \
  void __tsan_write##bytes(void* p) { note(p, bytes, true, false, HG_CALLER); }           \
  void __tsan_volatile_read##bytes(void* p) { note(p, bytes, false, false, HG_CALLER); }  \
  void __tsan_volatile_write##bytes(void* p) { note(p, bytes, true, false, HG_CALLER); }  \
  void __tsan_unaligned_read##bytes(void* p) { note(p, bytes, false, false, HG_CALLER); } \
  void __tsan_unaligned_write##bytes(void* p) { note(p, bytes, true, false, HG_CALLER); }

#define HG_ATOMIC_UPDATE(bits, T, name, builtin)       \
  T __tsan_atomic##bits##_##name(T* p, T value, int) { \
    note(p, sizeof(T), true, true, HG_CALLER);         \
    return builtin(p, value, __ATOMIC_SEQ_CST);        \
  }

#define HG_ATOMIC_EXCHANGE(bits, T, strength, weak)                                             \
  int __tsan_atomic##bits##_compare_exchange_##strength(T* p, T* expected, T value, int, int) { \
    note(p, sizeof(T), true, true, HG_CALLER);                                                  \
    return __atomic_compare_exchange_n(p, expected, value, weak, __ATOMIC_SEQ_CST,              \
                                       __ATOMIC_SEQ_CST)                                        \
               ? 1                                                                              \
               : 0;                                                                             \
  }

#define HG_ATOMICS(bits, T)                                \
  T __tsan_atomic##bits##_load(const T* p, int) {          \
    note(p, sizeof(T), false, true, HG_CALLER);            \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);           \
  }                                                        \
  void __tsan_atomic##bits##_store(T* p, T value, int) {   \
    note(p, sizeof(T), true, true, HG_CALLER);             \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);          \
  }                                                        \
  HG_ATOMIC_UPDATE(bits, T, exchange, __atomic_exchange_n) \
  HG_ATOMIC_UPDATE(bits, T, fetch_add, __atomic_fetch_add) \
  HG_ATOMIC_UPDATE(bits, T, fetch_sub, __atomic_fetch_sub) \
  HG_ATOMIC_UPDATE(bits, T, fetch_or, __atomic_fetch_or)   \
  HG_ATOMIC_UPDATE(bits, T, fetch_and, __atomic_fetch_and) \
  HG_ATOMIC_EXCHANGE(bits, T, strong, false)               \
  HG_ATOMIC_EXCHANGE(bits, T, weak, true)

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
HG_ACCESSES(1)
HG_ACCESSES(2)
HG_ACCESSES(4)
HG_ACCESSES(8)
HG_ACCESSES(16)
void __tsan_read_range(void* p, std::size_t bytes) { note(p, bytes, false, false, HG_CALLER); }
void __tsan_write_range(void* p, std::size_t bytes) { note(p, bytes, true, false, HG_CALLER); }
HG_ATOMICS(8, std::uint8_t)
HG_ATOMICS(16, std::uint16_t)
HG_ATOMICS(32, std::uint32_t)
HG_ATOMICS(64, std::uint64_t)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
}
