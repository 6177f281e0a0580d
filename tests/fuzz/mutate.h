// Inputs that are almost right: where readers break.
#pragma once

#include <random>
#include <string>
#include <vector>

namespace hg::fuzz {

/// One of the seeds with a few changes: bits, bytes, lengths, digits, pieces cut out, doubled or
/// taken from another seed. The same `random` gives the same inputs.
std::string mutate(const std::vector<std::string>& seeds, std::mt19937& random);

}  // namespace hg::fuzz
