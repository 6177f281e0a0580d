// What ranks tell each other before NCCL connects them.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace hg {

struct NcclGreeting {
  std::string version;  ///< of NCCL
  std::string problem;  ///< why this rank cannot take part; else empty
  std::string id;       ///< of rank 0
};

/// Every rank gets rank 0's id. Throws the same sentence on all ranks if one has a problem, or if
/// they have different versions of NCCL. `gather` brings every rank's text to every rank.
std::string exchange_id(const std::function<std::vector<std::string>(const std::string&)>& gather,
                        const NcclGreeting& own);

}  // namespace hg
