// What instruments saw of gates, as metrics; a part of train/looks/instrument_rows.h.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "data/tokenizer.h"
#include "train/looks/layer_rows.h"

namespace hg {

/// Adds the summary of all gates. Throws unless layers have some.
void add_gate_summary(LayerRows& rows);

/// The gate of a layer that has one: its statistics, those of each head in arrays, and tokens that
/// open and close it.
nlohmann::ordered_json gate_details(const Instruments::Layer& layer,
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
