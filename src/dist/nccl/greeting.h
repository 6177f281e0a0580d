// What ranks tell each other before NCCL connects them.
#pragma once

#include <string>

#include "dist/gather_text.h"

namespace hg {

struct NcclGreeting {
  std::string version;  ///< of NCCL
  std::string problem;  ///< why this rank cannot take part; else empty
  std::string id;       ///< of rank 0
};

/// Every rank gets rank 0's id. Throws the same sentence on all ranks if one has a problem, or if
/// they have different versions of NCCL.
std::string exchange_id(const TextGather& gather, const NcclGreeting& own);

}  // namespace hg
