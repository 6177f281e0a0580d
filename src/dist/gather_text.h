// Text from every rank, of any length.
#pragma once

#include <string>
#include <vector>

#include "dist/comm.h"

namespace hg {

/// Every rank's `text`, by rank, on every rank. Collective; all need room for n times the longest.
std::vector<std::string> gather_text(Comm& comm, const std::string& text,
                                     std::string_view label = {});

}  // namespace hg
