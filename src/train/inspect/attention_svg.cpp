#include "train/inspect/attention_svg.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "train/inspect/svg.h"
#include "train/inspect/token_label.h"

namespace hg {
namespace {

using svg::append, svg::kViridis;

constexpr int kLevels = 64;
constexpr std::size_t kLabelColumns = 12;

int level_of(float value) {
  return std::clamp(static_cast<int>(std::lround(value * (kLevels - 1))), 0, kLevels - 1);
}

void check(const AttentionMaps& maps) {
  const auto& [layers, heads, tokens, values, labels, layer_numbers, head_numbers] = maps;
  HG_CHECK(layers > 0 && heads > 0, "attention maps of {} layers and {} heads", layers, heads);
  HG_CHECK(0 < tokens && tokens <= AttentionMaps::kMostTokens,
           "attention maps of {} tokens, expected 1 to {}", tokens, AttentionMaps::kMostTokens);
  HG_CHECK(std::ssize(values) == layers * heads * tokens * tokens,
           "{} values for attention maps of {} layers, {} heads and {} tokens", values.size(),
           layers, heads, tokens);
  HG_CHECK(std::ssize(labels) == tokens, "{} labels for {} tokens", labels.size(), tokens);
  HG_CHECK(layer_numbers.empty() || std::ssize(layer_numbers) == layers,
           "{} layer numbers for {} layers", layer_numbers.size(), layers);
  HG_CHECK(head_numbers.empty() || std::ssize(head_numbers) == heads,
           "{} head numbers for {} heads", head_numbers.size(), heads);
  constexpr float kRounding = 1e-3F;  // of a sum of probabilities in bf16
  for (std::int64_t i = 0; i < std::ssize(values); ++i) {
    const std::int64_t key = i % tokens, query = i / tokens % tokens;
    const float value = values[static_cast<std::size_t>(i)];
    HG_CHECK(key > query || (value >= 0 && value <= 1 + kRounding),
             "attention of query {} on key {} is {}, expected a probability", query, key, value);
  }
}

/// What titles call the one at `index`.
std::int64_t number_of(const std::vector<std::int64_t>& numbers, std::int64_t index) {
  return numbers.empty() ? index : numbers[static_cast<std::size_t>(index)];
}

std::vector<float> mean_of_heads(const AttentionMaps& maps, std::int64_t layer) {
  const auto size = static_cast<std::size_t>(maps.tokens * maps.tokens);
  std::vector<float> mean(size);
  for (std::size_t i = 0; i < size; ++i) {
    double sum = 0;
    for (std::int64_t head = 0; head < maps.heads; ++head) sum += double{maps.map(layer, head)[i]};
    mean[i] = static_cast<float>(sum / static_cast<double>(maps.heads));
  }
  return mean;
}

/// Sizes and places, in pixels.
struct Layout {
  static constexpr std::int64_t kGap = 24, kTitle = 22, kTitleWidth = 320, kHeader = 60;
  static constexpr std::int64_t kHeaderWidth = 620;

  std::int64_t columns, rows;  // of panels
  std::int64_t tokens, cell;   // cells are square
  std::int64_t label = 0;      // length of the longest label

  Layout(const AttentionMaps& maps, Panels panels)
      : columns(panels == Panels::heads ? maps.heads : std::min<std::int64_t>(maps.layers, 4)),
        rows(panels == Panels::heads ? maps.layers : (maps.layers + columns - 1) / columns),
        tokens(maps.tokens),
        cell(std::clamp<std::int64_t>(480 / tokens, 7, 24)) {}

  double font() const { return std::min(0.85 * static_cast<double>(cell), 12.0); }
  std::int64_t side() const { return cell * tokens; }
  /// Of a panel with its labels, title and margin.
  std::int64_t width() const { return std::max(label + side(), kTitleWidth) + kGap; }
  std::int64_t height() const { return kTitle + side() + label + kGap; }
};

std::int64_t columns_of(std::string_view label) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
  const std::int64_t characters = std::ranges::count_if(label, begins);  // "&lt;" is four: enough
  return std::min(characters, static_cast<std::int64_t>(kLabelColumns));
}

void append_head(std::string& svg, const Layout& layout) {
  svg::begin(svg, std::max(Layout::kGap + layout.columns * layout.width(), Layout::kHeaderWidth),
             Layout::kHeader + layout.rows * layout.height(),
             ".m{fill:none;shape-rendering:crispEdges}" + svg::level_styles(kViridis, kLevels));
}

/// What every panel shows: both axes, keys below and read downwards, and the cells at level 0.
void append_shared(std::string& svg, const Layout& layout, std::span<const std::string> labels) {
  const auto append_axis = [&](std::int64_t x, double direction) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const double y = direction * static_cast<double>(layout.cell) * (static_cast<double>(i) + .5);
      append(svg, "<text x=\"{}\" y=\"{:g}\" dy=\".35em\">{}</text>\n", x, y, labels[i]);
    }
  };
  append(svg, "<defs>\n<g id=\"labels\" font-size=\"{:.1f}\"><g text-anchor=\"end\">\n",
         layout.font());
  append_axis(-5, 1);
  append(svg, "</g><g transform=\"rotate(90)\">\n");
  append_axis(layout.side() + 5, -1);
  append(svg, "</g></g>\n<path id=\"zero\" fill=\"{}\" d=\"M0 0", svg::color(kViridis, 0));
  for (std::int64_t i = 0; i < layout.tokens; ++i) append(svg, "h1v1");
  append(svg, "H0z\"/>\n</defs>\n");
}

void append_legend(std::string& svg) {
  append(svg, "<g transform=\"translate({},14)\">", Layout::kGap);
  svg::append_color_bar(svg, "viridis", kViridis, 240);
  for (const int quarter : {0, 1, 2, 3, 4}) {
    append(svg, "<text x=\"{}\" y=\"26\" text-anchor=\"middle\" font-size=\"10\">{:g}</text>",
           60 * quarter, quarter / 4.0);
  }
  append(svg,
         "\n<text x=\"256\" y=\"10\">attention of a query (row) on a key (column)</text></g>\n");
}

void append_panel(std::string& svg, const Layout& layout, std::int64_t index,
                  std::span<const float> map, const std::string& title) {
  append(svg, "<g transform=\"translate({},{})\"><text x=\"{}\" y=\"-8\">{}: first token {:.1f} %",
         Layout::kGap + index % layout.columns * layout.width() + layout.label,
         Layout::kHeader + index / layout.columns * layout.height() + Layout::kTitle, -layout.label,
         title, 100 * first_token_share(map));
  append(svg,
         "</text><use href=\"#labels\"/><g class=\"m\" transform=\"scale({})\"><use "
         "href=\"#zero\"/><g transform=\"translate(0,.5)\">\n",
         layout.cell);
  const auto paths = svg::level_paths(
      kLevels, layout.tokens, [](std::int64_t query) { return query + 1; },
      [&](std::int64_t key, std::int64_t query) {
        return level_of(map[static_cast<std::size_t>(query * layout.tokens + key)]);
      });
  for (std::size_t level = 1; level < paths.size(); ++level) {
    if (!paths[level].empty()) append(svg, "<path class=\"v{}\" d=\"{}\"/>\n", level, paths[level]);
  }
  append(svg, "</g></g></g>\n");
}

}  // namespace

std::span<const float> AttentionMaps::map(std::int64_t layer, std::int64_t head) const {
  const std::int64_t size = tokens * tokens;
  return std::span(values).subspan(static_cast<std::size_t>((layer * heads + head) * size),
                                   static_cast<std::size_t>(size));
}

AttentionMaps select_heads(const AttentionMaps& maps, std::span<const std::int64_t> heads) {
  AttentionMaps selected{.layers = maps.layers,
                         .heads = std::ssize(heads),
                         .tokens = maps.tokens,
                         .labels = maps.labels,
                         .layer_numbers = maps.layer_numbers};
  for (const std::int64_t head : heads) {
    HG_CHECK(0 <= head && head < maps.heads, "attention maps of head {}; there are heads 0 to {}",
             head, maps.heads - 1);
    selected.head_numbers.push_back(number_of(maps.head_numbers, head));
  }
  for (std::int64_t layer = 0; layer < maps.layers; ++layer) {
    for (const std::int64_t head : heads) {
      const auto map = maps.map(layer, head);
      selected.values.insert(selected.values.end(), map.begin(), map.end());
    }
  }
  return selected;
}

double first_token_share(std::span<const float> map) {
  const auto tokens = static_cast<std::size_t>(std::lround(std::sqrt(map.size())));
  double sum = 0;
  for (std::size_t query = 0; query < tokens; ++query) sum += double{map[query * tokens]};
  return sum / static_cast<double>(tokens);
}

std::string attention_svg(const AttentionMaps& maps, Panels panels) {
  check(maps);
  Layout layout(maps, panels);
  std::vector<std::string> labels;
  std::int64_t longest = 0;
  for (const auto& text : maps.labels) {
    labels.push_back(token_label(text, kLabelColumns));
    longest = std::max(longest, columns_of(labels.back()));
  }
  layout.label = 8 + std::lround(0.62 * layout.font() * static_cast<double>(longest));

  std::string svg;
  append_head(svg, layout);
  append_shared(svg, layout, labels);
  append_legend(svg);
  std::int64_t index = 0;
  for (std::int64_t layer = 0; layer < maps.layers; ++layer) {
    const std::int64_t number = number_of(maps.layer_numbers, layer);
    if (panels == Panels::layers) {
      append_panel(svg, layout, index++, mean_of_heads(maps, layer),
                   fmt::format("layer {}, mean of heads", number));
      continue;
    }
    for (std::int64_t head = 0; head < maps.heads; ++head) {
      append_panel(svg, layout, index++, maps.map(layer, head),
                   fmt::format("layer {}, head {}", number, number_of(maps.head_numbers, head)));
    }
  }
  svg::end(svg);
  return svg;
}

}  // namespace hg
