// Where tests find what lies in the source tree, and the programs that they start. Not macros: a
// test's object would differ from tree to tree, and no compiler cache could hold it.
#pragma once

#include <string>

namespace hg::test {

/// The path of a file in the source tree: source_path("configs/tiny.yaml").
std::string source_path(const std::string& file);

extern const std::string kHeadgate;  // the command line tool
extern const std::string kMpiRanks;  // tests/mpi/ranks.cpp
extern const std::string
    kSimulated;  // the command line tool with a simulated GPU, where that is built

}  // namespace hg::test
