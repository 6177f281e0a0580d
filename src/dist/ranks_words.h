// Ranks in sentences.
#pragma once

#include <span>
#include <string>

namespace hg {

/// "rank 3", "ranks 1, 2, 5", "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 120 more"; of one rank at least.
std::string ranks_words(std::span<const int> ranks);

}  // namespace hg
