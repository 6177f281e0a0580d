// CUDA's built-ins of device code, for kernels that a C++ compiler compiles against the simulation.
// Included by cuda/device.h alone.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>  // before the macros below: its templates have parameters of those names

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "cuda_sim/kernel.h"

#ifndef __launch_bounds__
#define __launch_bounds__(...)
#endif
#define threadIdx (::cuda_sim::the_thread->thread)
#define blockIdx (::cuda_sim::the_thread->block)
#define blockDim (::cuda_sim::the_thread->block_size)
#define gridDim (::cuda_sim::the_thread->grid_size)

namespace cuda_sim {

/// Every lane gets the value of the lane it names; one that does not take part has NaN.
template <class T>
T shuffle(const char* name, std::uint32_t mask, T value, unsigned source, const Where& where) {
  static_assert(std::is_trivially_copyable_v<T>);
  struct Operand {
    T value;
    unsigned source;
  };
  const Operand operand{value, source};
  T result;
  warp_operation(
      name, mask, &operand, &result,
      [](const WarpOperands& warp) {
        for (unsigned lane = 0; lane < kWarp; ++lane) {
          if (!warp.has(lane)) continue;
          const unsigned from = warp.get<Operand>(lane).source;
          if (warp.has(from)) {
            warp.put(lane, warp.get<Operand>(from).value);
          } else {
            std::memset(warp.out[lane], 0xff, sizeof(T));
          }
        }
      },
      where);
  return result;
}

/// Every lane gets all lanes' values, combined in the order of lanes.
template <class Combine, class T>
T reduce(const char* name, std::uint32_t mask, T value, const Where& where) {
  T result;
  warp_operation(
      name, mask, &value, &result,
      [](const WarpOperands& warp) {
        const auto first = static_cast<unsigned>(std::countr_zero(warp.lanes));
        T total = warp.get<T>(first);
        for (unsigned lane = first + 1; lane < kWarp; ++lane)
          if (warp.has(lane)) total = Combine{}(total, warp.get<T>(lane));
        for (unsigned lane = first; lane < kWarp; ++lane)
          if (warp.has(lane)) warp.put(lane, total);
      },
      where);
  return result;
}

/// Replaces a value by update(value) in one step; for types that std::atomic_ref cannot add, too.
template <class T, class Update>
T atomic_update(T* address, Update&& update) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  using Bits =
      std::conditional_t<sizeof(T) == 2, std::uint16_t,
                         std::conditional_t<sizeof(T) == 4, std::uint32_t, unsigned long long>>;
  const std::atomic_ref<Bits> bits(*reinterpret_cast<Bits*>(address));
  Bits before = bits.load();
  while (true) {
    T value;
    std::memcpy(&value, &before, sizeof value);
    const T next = update(value);
    Bits after;
    std::memcpy(&after, &next, sizeof after);
    if (bits.compare_exchange_weak(before, after)) return value;
  }
}

template <class To, class From>
To bits_as(From from) {
  return std::bit_cast<To>(from);
}

}  // namespace cuda_sim

inline constexpr int warpSize = 32;

// Barriers.
inline void __syncthreads(cuda_sim::Where where = cuda_sim::Where::current()) {
  cuda_sim::barrier(false, where);
}
inline int __syncthreads_count(int predicate, cuda_sim::Where where = cuda_sim::Where::current()) {
  return cuda_sim::barrier(predicate != 0, where);
}
inline int __syncthreads_or(int predicate, cuda_sim::Where where = cuda_sim::Where::current()) {
  return cuda_sim::barrier(predicate != 0, where) != 0;
}
inline void __syncwarp(unsigned mask = cuda_sim::kAllLanes,
                       cuda_sim::Where where = cuda_sim::Where::current()) {
  cuda_sim::warp_operation("__syncwarp", mask, nullptr, nullptr, nullptr, where);
}

// Shuffles, within parts of `width` lanes.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              cuda_sim::Where where = cuda_sim::Where::current()) {
  const auto lane = cuda_sim::the_thread->lane, part = static_cast<unsigned>(width);
  return cuda_sim::shuffle("__shfl_sync", mask, value,
                           lane / part * part + static_cast<unsigned>(source) % part, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32,
                  cuda_sim::Where where = cuda_sim::Where::current()) {
  const auto lane = cuda_sim::the_thread->lane, part = static_cast<unsigned>(width);
  const unsigned source = lane ^ static_cast<unsigned>(bits);
  return cuda_sim::shuffle("__shfl_xor_sync", mask, value,
                           source / part > lane / part ? lane : source, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cuda_sim::Where where = cuda_sim::Where::current()) {
  const auto lane = cuda_sim::the_thread->lane, part = static_cast<unsigned>(width);
  const unsigned source = lane + delta;
  return cuda_sim::shuffle("__shfl_down_sync", mask, value,
                           source / part == lane / part ? source : lane, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cuda_sim::Where where = cuda_sim::Where::current()) {
  const auto lane = cuda_sim::the_thread->lane, part = static_cast<unsigned>(width);
  return cuda_sim::shuffle("__shfl_up_sync", mask, value,
                           lane % part >= delta ? lane - delta : lane, where);
}

// Votes and reductions.
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              cuda_sim::Where where = cuda_sim::Where::current()) {
  const unsigned own = predicate != 0 ? 1U << cuda_sim::the_thread->lane : 0U;
  return cuda_sim::reduce<std::bit_or<>>("__ballot_sync", mask, own, where);
}
inline int __any_sync(unsigned mask, int predicate,
                      cuda_sim::Where where = cuda_sim::Where::current()) {
  return cuda_sim::reduce<std::logical_or<>>("__any_sync", mask, predicate != 0, where);
}
inline int __all_sync(unsigned mask, int predicate,
                      cuda_sim::Where where = cuda_sim::Where::current()) {
  return cuda_sim::reduce<std::logical_and<>>("__all_sync", mask, predicate != 0, where);
}
template <class T>
requires std::same_as<T, int> || std::same_as<T, unsigned> T
__reduce_add_sync(unsigned mask, T value, cuda_sim::Where where = cuda_sim::Where::current()) {
  return static_cast<T>(cuda_sim::reduce<std::plus<>>("__reduce_add_sync", mask,
                                                      static_cast<unsigned>(value), where));
}

// Atomics. Blocks of a device run one after the other, threads on the same OS thread; what is
// atomic matters to the race check.
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return cuda_sim::atomic_update(address, [&](T old) { return static_cast<T>(old + value); });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return cuda_sim::atomic_update(address, [&](T old) { return old < value ? value : old; });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return cuda_sim::atomic_update(address, [&](T) { return value; });
}
template <class T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return cuda_sim::atomic_update(address, [&](T old) { return old == expected ? value : old; });
}
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { std::atomic_thread_fence(std::memory_order_seq_cst); }

// Loads, bits and arithmetic. The fast functions are exact here: no test may rely on their error.
template <class T>
T __ldg(const T* address) {
  return *address;
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline float __uint_as_float(unsigned x) { return cuda_sim::bits_as<float>(x); }
inline unsigned __float_as_uint(float x) { return cuda_sim::bits_as<unsigned>(x); }
template <class T>
T min(T a, std::type_identity_t<T> b) {
  return std::min(a, b);
}
template <class T>
T max(T a, std::type_identity_t<T> b) {
  return std::max(a, b);
}
