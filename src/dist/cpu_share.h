// Processors of a node, and how its ranks share them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "dist/comm.h"

namespace hg {

/// The numbers of the hardware threads that this process may run on, ascending: launchers,
/// containers and batch systems give fewer than all.
std::vector<int> usable_cpus();

/// What the system calls this node.
std::string host_name();

/// "0-3, 8"
std::string ranges_of(std::span<const int> ascending);

/// Threads for one of a node's ranks: its processors, each divided by the ranks that may use it,
/// rounded down; at least 1. So ranks that a launcher has bound to processors of their own use all
/// of these, and ranks that are not bound use an equal part.
int fair_threads(std::span<const std::vector<int>> cpus_of_ranks, std::size_t rank);

/// fair_threads of this rank among those on its host. Collective.
int fair_threads(Comm& world);

}  // namespace hg
