#include "cuda_sim/ptx/kernel_names.h"

#include <dlfcn.h>
#include <elf.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "core/check.h"

namespace cuda_sim::ptx {
namespace {

constexpr const char* kOwnFile = "/proc/self/exe";

template <class T>
T read_at(const std::vector<char>& bytes, std::size_t offset) {
  HG_CHECK(offset + sizeof(T) <= bytes.size(), "{}: ends within its tables", kOwnFile);
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

}  // namespace

KernelNames::KernelNames() {
  std::ifstream file(kOwnFile, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto header = read_at<Elf64_Ehdr>(bytes, 0);
  Dl_info own{};
  static const int in_this_program = 0;
  HG_CHECK(dladdr(&in_this_program, &own) != 0, "dladdr does not know this program");
  const auto base = header.e_type == ET_DYN ? reinterpret_cast<std::uintptr_t>(own.dli_fbase) : 0;

  const auto section = [&](std::size_t i) {
    return read_at<Elf64_Shdr>(bytes, header.e_shoff + i * header.e_shentsize);
  };
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const Elf64_Shdr symbols = section(i);
    if (symbols.sh_type != SHT_SYMTAB) continue;
    const Elf64_Shdr names = section(symbols.sh_link);
    std::string source;  // local symbols come behind that of their file
    for (std::size_t at = 0; at < symbols.sh_size; at += sizeof(Elf64_Sym)) {
      const auto symbol = read_at<Elf64_Sym>(bytes, symbols.sh_offset + at);
      const char* const name = bytes.data() + names.sh_offset + symbol.st_name;
      const auto type = ELF64_ST_TYPE(symbol.st_info);
      if (type == STT_FILE) source = name;
      if (type != STT_FUNC || symbol.st_value == 0) continue;
      const bool local = ELF64_ST_BIND(symbol.st_info) == STB_LOCAL;
      names_[base + symbol.st_value] = {name, local ? source : ""};
    }
  }
  HG_CHECK(!names_.empty(), "{}: has no symbols", kOwnFile);
}

const KernelName& KernelNames::at(const void* address) const {
  const auto found = names_.find(reinterpret_cast<std::uintptr_t>(address));
  HG_CHECK(found != names_.end(), "no function of this program is at {}", address);
  return found->second;
}

}  // namespace cuda_sim::ptx
