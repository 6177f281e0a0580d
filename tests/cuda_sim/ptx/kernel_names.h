// The names of a program's own functions, those that other programs cannot see, too.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace cuda_sim::ptx {

struct KernelName {
  std::string mangled;
  std::string file;  // the source's, if other files may have the name, too; else empty
};

/// Reads the symbols of the running program. Throws hg::Error if it has none.
class KernelNames {
 public:
  KernelNames();
  /// Of the function at `address`; throws hg::Error if there is none.
  const KernelName& at(const void* address) const;

 private:
  std::map<std::uintptr_t, KernelName> names_;
};

}  // namespace cuda_sim::ptx
