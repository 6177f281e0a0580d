// Attention maps as a picture: one SVG file that needs nothing else.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hg {

/// What heads attend to in one text.
struct AttentionMaps {
  std::int64_t layers = 0, heads = 0, tokens = 0;
  std::vector<float> values = {};        ///< [layers, heads, query, key]; keys up to the query
  std::vector<std::string> labels = {};  ///< [tokens]: each token's text, any bytes
  std::vector<std::int64_t> layer_numbers = {};  ///< [layers], for titles; empty: counted from 0
  std::vector<std::int64_t> head_numbers = {};   ///< [heads], likewise

  static constexpr std::int64_t kMostTokens = 256;
  /// One map, [query, key].
  std::span<const float> map(std::int64_t layer, std::int64_t head) const;
};

/// The maps of these heads alone, under their numbers.
AttentionMaps select_heads(const AttentionMaps& maps, std::span<const std::int64_t> heads);

enum class Panels {
  heads,   ///< a row of panels per layer, one per head
  layers,  ///< one panel per layer, the mean of its heads; four to a row
};

/// A panel is the lower triangle with queries downwards and keys to the right, in the colours of
/// viridis from 0 to 1, the tokens as labels on both axes, and a title with the first-token share.
/// Colours have 64 levels; cells of a row with the same level are one stroke. Throws unless sizes
/// fit together, there are 1 to kMostTokens tokens, and visible values are probabilities.
std::string attention_svg(const AttentionMaps& maps, Panels panels);

/// Mean over all queries of the attention on key 0; that of query 0 is always 1. `map` is [query,
/// key], square.
double first_token_share(std::span<const float> map);

}  // namespace hg
