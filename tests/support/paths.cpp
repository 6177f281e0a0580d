#include "support/paths.h"

namespace hg::test {

const std::string kHeadgate = HEADGATE_BINARY;
const std::string kMpiRanks = HEADGATE_MPI_RANKS;
const std::string kSimulated = HEADGATE_SIMULATED;

std::string source_path(const std::string& file) { return HEADGATE_SOURCE_DIR "/" + file; }

}  // namespace hg::test
