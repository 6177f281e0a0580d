// A kernel in the form that runs: operations, each a function with the slots of its operands.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cuda_sim/ptx/syntax.h"

namespace cuda_sim::ptx {

struct Op;
struct Lane;

/// Performs an operation and returns the next, or null at the end of the kernel.
using Handler = const Op* (*)(const Op*, Lane&);

inline constexpr std::size_t kInlineSlots = 6;

/// The slots are the operands from left to right, what is written first: registers, constants, the
/// base of an address.
struct Op {
  Handler run = nullptr;
  std::array<std::uint32_t, kInlineSlots> slot{};
  union {
    std::int64_t offset;         // of an address, or in the parameters
    const Op* target;            // of a branch
    const std::uint32_t* slots;  // all of them, if they are too many
  };
  Op() : offset(0) {}
};

/// How instructions of an opcode become operations.
struct Form {
  enum class Kind : std::uint8_t { plain, branch, ends, pair };
  Handler run = nullptr;
  std::uint8_t writes = 0, slots = 0;
  Kind kind = Kind::plain;  // pair: the first operand is a|b, or a alone
};

// What guards become.
inline constexpr const char *kJumpIf = "bra if", *kJumpUnless = "bra unless";

/// The form for an opcode with all of its suffixes; null if it is not implemented.
const Form* find_form(std::string_view opcode);
/// A kernel that can run.
struct Program {
  std::string name;
  std::vector<Parameter> parameters;
  std::vector<SharedArray> shared;
  std::size_t local_bytes, parameter_bytes;
  unsigned max_threads;

  std::vector<Op> ops;
  std::vector<Where> places;         // of ops
  std::vector<std::uint32_t> slots;  // what ops with many slots point to
  std::vector<std::uint64_t>
      constants;           // the first slots of each thread, behind the special registers
  std::size_t slot_count;  // of a thread
};

/// Throws hg::Error with the place and the opcode of what is not implemented.
Program decode(const Function& function);

/// What an op does with registers.
struct Uses {
  std::vector<std::uint32_t> writes, reads;  // registers
  std::optional<std::size_t> target;         // of a branch; the next follows, too, unless `ends`
  bool ends = false;
};
/// Slots of registers, the same where they are not needed at the same time: so those of a whole
/// block stay in the cache.
struct SharedSlots {
  std::vector<std::uint32_t> of_register;
  std::uint32_t count;
};
SharedSlots share_slots(const std::vector<Uses>& ops, std::uint32_t registers);

}  // namespace cuda_sim::ptx
