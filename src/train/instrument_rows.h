// What instruments saw, as metrics: a summary for every sink, and the details of every head for
// instruments.jsonl. docs/metrics.md defines the names.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "data/tokenizer.h"
#include "model/instruments.h"
#include "train/tensorboard.h"
#include "train/update_norms.h"

namespace hg {

/// Values of all layers together, and of each layer those that a person follows. Scores of a gate
/// that is not there are left out.
std::vector<NamedValue> instrument_summary(const Instruments& instruments);

/// Norms of gradients and weights, and updates relative to weights, by kind and by unit.
std::vector<NamedValue> update_summary(const std::vector<UpdateGroup>& groups);

/// An object with an array "layers", in which values per head are arrays. `tokens` are the ids of
/// the micro-batch.
nlohmann::ordered_json instrument_details(const Instruments& instruments,
                                          std::span<const std::int32_t> tokens,
                                          const Tokenizer& tokenizer);

/// Gate scores of each layer, all heads together; none without a gate.
std::vector<NamedHistogram> gate_histograms(const Instruments& instruments);

/// A token, its mean gate score, and how often it was seen.
struct GatedToken {
  std::int32_t id;
  double score;
  std::int64_t count;
};

/// The tokens with the lowest and with the highest mean scores, the extreme ones first.
struct ExtremeTokens {
  std::vector<GatedToken> closed, open;
};

/// At most `most` of each, among the tokens seen `least` times or more; ties by id.
ExtremeTokens extreme_tokens(std::span<const std::int32_t> tokens, std::span<const float> scores,
                             std::int64_t least, std::size_t most);

}  // namespace hg
