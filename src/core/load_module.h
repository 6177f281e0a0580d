// Modules of headgate that are loaded when they are needed, since what they link may not be there.
#pragma once

#include <cstdint>

namespace hg {

/// Calls the function `symbol` of the module `file`, which lies beside the program or in ../lib,
/// and returns the table of functions that it returns. `wants` is what the module was built with,
/// for messages: "MPI". Throws one sentence if the module, or a library of it, is missing.
/// `global`: so that what the module loads later finds its symbols.
const void* load_table(const char* file, const char* symbol, const char* wants, bool global);

/// Throws if a table is of another version than the program's header.
void check_version(const char* file, std::uint32_t found, std::uint32_t expected);

/// Both, for a table that begins with the version of its header.
template <class Table>
const Table& load_module(const char* file, const char* symbol, const char* wants,
                         bool global = false) {
  const auto& table = *static_cast<const Table*>(load_table(file, symbol, wants, global));
  check_version(file, table.version, Table::kVersion);
  return table;
}

}  // namespace hg
