// What operations of a program see of the thread that runs them.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstring>

#include "cuda_sim/ptx/launch.h"

namespace cuda_sim::ptx {

/// 0, or what is true.
using Predicate = std::uint8_t;

struct Lane {
  std::uint64_t* registers;
  std::byte* local;
  Launch& launch;
};

/// A slot's low bytes.
template <class T>
T get(const Lane& lane, std::uint32_t slot) {
  T value;
  std::memcpy(&value, lane.registers + slot, sizeof value);
  return value;
}

/// Writes the whole slot: a register may be wider than the type, which is then extended.
template <class T>
void set(const Lane& lane, std::uint32_t slot, T value) {
  if constexpr (std::integral<T>) {
    lane.registers[slot] = static_cast<std::uint64_t>(value);
  } else {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    lane.registers[slot] = std::bit_cast<Bits>(value);
  }
}

[[noreturn]] inline void fail_at(const Op* op, const Lane& lane, const std::string& sentence) {
  fail(sentence, lane.launch.place_of(op));
}

/// The handler of a lambda of values, without state: slot 0 gets f(slot 1, ...).
template <class F, class Signature = decltype(&F::operator())>
struct Pure;
template <class F, class Result, class... Arguments>
struct Pure<F, Result (F::*)(Arguments...) const> {
  static const Op* run(const Op* op, Lane& lane) {
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      set<Result>(lane, op->slot[0], F{}(get<Arguments>(lane, op->slot[i + 1])...));
    }
    (std::index_sequence_for<Arguments...>{});
    return op + 1;
  }
  static constexpr std::uint8_t kSlots = sizeof...(Arguments) + 1;
};
template <class F>
Form pure(F) {
  return {.run = Pure<F>::run, .writes = 1, .slots = Pure<F>::kSlots};
}

}  // namespace cuda_sim::ptx
