// PTX as nvcc writes it: a module's text, and the parts of a kernel in it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cuda_sim/kernel.h"

namespace cuda_sim::ptx {

/// A register by its number, a constant, an address [register or constant + offset], {a, b}, or a
/// label.
struct Operand {
  enum class Kind : std::uint8_t {
    register_,
    constant,
    address,
    parameter,
    vector,
    label,
    nothing
  };
  Kind kind = Kind::nothing;
  std::uint32_t number = 0;      // of the register
  std::uint64_t value = 0;       // the constant; what is added to the register of an address
  std::vector<Operand> parts{};  // of {a, b}; of a|b; the base of an address
  std::string label{};
};

/// `opcode operands;`, or with a guard @p or @!p.
struct Instruction {
  std::string opcode{};
  std::vector<Operand> operands{};
  bool guarded = false, guard = true;  // and the value that lets it run
  std::uint32_t guard_number = 0;
  Where where{};
};

struct Parameter {
  std::string name;
  std::size_t bytes, offset;
};

/// An array of shared memory; its size is the launch's where `address` is kDynamicShared.
struct SharedArray {
  std::string name;
  std::uint32_t bytes, address;
};

/// Shared addresses begin here, so that 0 is none; arrays are as far from each other as this, so
/// that what leaves one does not come to another unseen.
inline constexpr std::uint32_t kSharedGap = 1024;
/// The address of the shared memory whose size the launch says, behind all the rest.
inline constexpr std::uint32_t kDynamicShared = 1U << 20;
/// Where a thread's local memory begins.
inline constexpr std::uint64_t kLocalBase = 1024;

struct Label {
  std::string name;
  std::size_t instruction;  // the next
};

/// An entry function. The first registers are the special ones, in the order of kSpecialRegisters.
struct Function {
  std::string name;
  std::vector<Parameter> parameters;
  std::vector<SharedArray> shared;  // what it uses
  std::size_t local_bytes = 0;
  unsigned max_threads = 1024;
  std::uint32_t registers = 0;
  std::vector<Instruction> instructions;
  std::vector<Label> labels;
};

inline constexpr std::array<std::string_view, 15> kSpecialRegisters = {
    "%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
    "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
    "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid",  "%lanemask_lt"};

/// A file that nvcc made of a .cu.
class Module {
 public:
  /// Throws hg::Error if it cannot be read.
  explicit Module(const std::string& path);

  struct Entry {
    std::string name;
    std::size_t offset;  // of ".entry"
  };
  const std::string& path() const { return path_; }
  /// Names as nvcc mangles them, but for namespaces without a name: see plain_name.
  const std::vector<Entry>& entries() const { return entries_; }
  /// Throws hg::Error with the line of what it does not understand.
  Function parse(const Entry& entry) const;

 private:
  std::string path_, text_;
  std::vector<Entry> entries_;
  std::vector<SharedArray> shared_;  // outside of functions; without addresses
  std::vector<std::string> files_;   // by .file number
};

/// A mangled name in which the namespaces without a name are called what GCC calls them; nvcc puts
/// a hash of the file there.
std::string plain_name(std::string_view mangled);

}  // namespace cuda_sim::ptx
