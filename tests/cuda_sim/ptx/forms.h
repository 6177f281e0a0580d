// The table of implemented opcodes.
#pragma once

#include <map>
#include <string>

#include "cuda_sim/ptx/lane.h"

namespace cuda_sim::ptx {

class Forms {
 public:
  /// For "add.s32" and the like; an opcode is added once.
  void add(const std::string& opcode, const Form& form);
  const Form* find(std::string_view opcode) const;

 private:
  std::map<std::string, Form, std::less<>> forms_;
};

void add_integers(Forms& forms);
void add_floats(Forms& forms);
void add_conversions(Forms& forms);
void add_memory(Forms& forms);
void add_warp_operations(Forms& forms);
void add_control(Forms& forms);

/// PTX's name of a type.
template <class T>
std::string type_name(char integer_kind = std::is_signed_v<T> ? 's' : 'u') {
  return (std::floating_point<T> ? 'f' : integer_kind) + std::to_string(8 * sizeof(T));
}

}  // namespace cuda_sim::ptx
