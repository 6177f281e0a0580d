// Ranks and sizes as the doctor words them.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace hg {

/// "rank 3", "ranks 0-3, 8": of ascending numbers; long lists end in "and 5 more".
std::string rank_list(std::span<const int> ranks);

/// Ranks by what they say.
using Opinions = std::map<std::string, std::vector<int>>;

/// "a on ranks 0-2; b on rank 3", or "a on all ranks".
std::string list_opinions(const Opinions& opinions);

/// "3.1 GiB", "20 MiB"
std::string binary_size(std::int64_t bytes);

/// "1.5 us", "20 ms", "3.2 s"
std::string short_time(double seconds);

}  // namespace hg
