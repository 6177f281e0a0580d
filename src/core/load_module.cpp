#include "core/load_module.h"

#include <dlfcn.h>

#include <filesystem>

#include "core/check.h"

namespace hg {

namespace fs = std::filesystem;

const void* load_table(const char* file, const char* symbol, const char* wants, bool global) {
  const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
  fs::path path = folder / file;
  if (!fs::exists(path)) path = folder.parent_path() / "lib" / file;
  HG_CHECK(fs::exists(path), "{} is neither in {} nor in {}: this headgate was built without {}",
           file, folder.string(), path.parent_path().string(), wants);
  void* module = ::dlopen(path.c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
  if (module == nullptr) fail("cannot load {}: {}", wants, ::dlerror());
  void* function = ::dlsym(module, symbol);
  HG_CHECK(function != nullptr, "{} has no {}", path.string(), symbol);
  return reinterpret_cast<const void* (*)()>(function)();
}

void check_version(const char* file, std::uint32_t found, std::uint32_t expected) {
  HG_CHECK(found == expected, "{} has version {}, this headgate needs {}", file, found, expected);
}

}  // namespace hg
