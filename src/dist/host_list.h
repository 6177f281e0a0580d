// Slurm's lists: of nodes, "gpu[01-03,7],login", and of tasks per node, "4(x2),3".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hg {

/// The hosts that a node list names, in its order; nothing if it is malformed or names over a
/// million. Several brackets in one name multiply, the last fastest: "r[1-2]n[1-2]".
std::optional<std::vector<std::string>> expand_hosts(std::string_view list);

/// Tasks of each node: "4(x2),3" is 4, 4, 3.
std::optional<std::vector<int>> expand_counts(std::string_view list);

/// A whole decimal number >= 0 that fits an int.
std::optional<int> parse_count(std::string_view text);

}  // namespace hg
