// Text from every rank, of any length.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dist/comm.h"

namespace hg {

/// The same by whatever connects the ranks: every rank's text to every rank, by rank.
using TextGather = std::function<std::vector<std::string>(const std::string&)>;

/// Every rank's `text`, by rank, on every rank. Collective; all need room for n times the longest.
std::vector<std::string> gather_text(Comm& comm, const std::string& text,
                                     std::string_view label = {});

}  // namespace hg
