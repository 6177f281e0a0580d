// What instruments saw, as metrics: a summary for every sink, and the details of every head and
// expert for instruments.jsonl. docs/metrics.md defines the names.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "data/tokenizer.h"
#include "model/instruments.h"
#include "train/looks/update_norms.h"
#include "train/metrics/tensorboard.h"

namespace hg {

/// Values of all layers together, and of each layer those that a person follows. Scores of a gate
/// and loads of experts that are not there are left out.
std::vector<NamedValue> instrument_summary(const Instruments& instruments);

/// Norms of gradients and weights, and updates relative to weights, by kind and by unit.
std::vector<NamedValue> update_summary(const std::vector<UpdateGroup>& groups);

/// An object with an array "layers", in which values per head are arrays. `tokens` are the ids of
/// the micro-batch.
nlohmann::ordered_json instrument_details(const Instruments& instruments,
                                          std::span<const std::int32_t> tokens,
                                          const Tokenizer& tokenizer);

}  // namespace hg
