// The core of BPE training: which pairs of symbols merge, in which order.
#pragma once

#include <cstdint>
#include <vector>

#include "data/bpe_definition.h"

namespace hg {

/// A word as symbols, and how often it occurs.
struct CountedWord {
  std::vector<std::int32_t> symbols;
  std::int64_t count;
};

/// Merges, `merges` times or until no pair occurs twice, the pair of neighbours that is most
/// frequent over all words (Sennrich et al., 2016); of equals that with the lower left id, then the
/// lower right one. New symbols are numbered from `first_id` on.
std::vector<BpeMerge> learn_merges(std::vector<CountedWord> words, std::int32_t first_id,
                                   std::int64_t merges);

}  // namespace hg
