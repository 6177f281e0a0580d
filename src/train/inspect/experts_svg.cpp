#include "train/inspect/experts_svg.h"

#include <cmath>

#include "train/inspect/svg_chart.h"
#include "train/looks/router_watch.h"

namespace hg {
namespace {

using svg::append;

constexpr int kLevels = 49;     // odd: one is in the middle, for a load of 1
constexpr int kDead = kLevels;  // the level of dead experts
constexpr double kOctaves = 3;  // on either side of 1
constexpr char kDeadColor[] = "#ffd200";
// Of layers, from the first to the last: viridis without its yellow end, faint on white.
constexpr svg::Ramp kLayerColors = svg::Ramp(svg::kViridis).first(8);

/// Where a load is on the scale, from 0 to 1.
double place_of(double load) {
  return std::clamp((std::log2(std::max(load, 1e-9)) + kOctaves) / (2 * kOctaves), 0.0, 1.0);
}

int level_of(double load) {
  if (load < kDeadLoad) return kDead;
  return static_cast<int>(std::lround(place_of(load) * (kLevels - 1)));
}

/// Sizes and places, in pixels.
struct Layout {
  static constexpr std::int64_t kGap = 24, kLabel = 72, kHeader = 112, kNumbers = 250;
  static constexpr std::int64_t kAxis = 44;  // below the map
  static constexpr std::int64_t kLeastWidth = 1000;
  static constexpr double kChart = 190;

  std::int64_t layers, experts, cell, row;  // a cell is `cell` wide and `row` high

  explicit Layout(const ExpertLook& look)
      : layers(std::ssize(look.layers)),
        experts(std::ssize(look.layers.front().experts)),
        cell(std::clamp<std::int64_t>(1536 / experts, 2, 48)),
        row(layers <= 16   ? 24
            : layers <= 48 ? 16
                           : 12) {}

  std::int64_t map_width() const { return cell * experts; }
  std::int64_t map_height() const { return row * layers; }
  std::int64_t width() const {
    return std::max(kGap + kLabel + map_width() + kNumbers, kLeastWidth);
  }
  double chart_width() const {
    return static_cast<double>(width() - 2 * kGap) / 2 - svg::Chart::kLeft - svg::Chart::kRight;
  }
  double chart_top() const {
    return static_cast<double>(kHeader + map_height() + kAxis) + svg::Chart::kAbove;
  }
  std::int64_t height() const { return std::lround(chart_top() + kChart + svg::Chart::kBelow) + 8; }
  double row_middle(std::size_t i) const {
    return static_cast<double>(row) * (static_cast<double>(i) + 0.5);
  }
};

void append_title(std::string& svg, const ExpertLook& look, const Layout& layout) {
  append(svg,
         "<text x=\"{0}\" y=\"26\" font-size=\"15\">Load of {1} experts in {2} layers at step "
         "{3}</text>\n<text x=\"{0}\" y=\"44\" font-size=\"11\">choices of an expert over the mean "
         "of its layer, in the first micro-batch of the step</text>\n",
         Layout::kGap, layout.experts, layout.layers, look.step);
}

void append_legend(std::string& svg) {
  constexpr std::int64_t kWidth = 300;
  append(svg, "<g transform=\"translate({},56)\">", Layout::kGap + 8);
  svg::append_color_bar(svg, "loads", svg::kBlueRed, kWidth);
  append(svg, "<g font-size=\"10\" text-anchor=\"middle\">");
  constexpr std::pair<double, const char*> kTicks[] = {
      {0.125, "≤ 1/8"}, {0.25, "1/4"}, {0.5, "1/2"}, {1, "1"}, {2, "2"}, {4, "4"}, {8, "≥ 8"}};
  for (const auto& [load, text] : kTicks)
    append(svg, "<text x=\"{:.1f}\" y=\"24\">{}</text>", place_of(load) * kWidth, text);
  append(svg,
         "</g>\n<rect x=\"{}\" width=\"24\" height=\"12\" fill=\"{}\"/><text x=\"{}\" "
         "y=\"10\">dead: below {:g}</text></g>\n",
         kWidth + 40, kDeadColor, kWidth + 70, kDeadLoad);
}

/// Numbers of layers at the left, of experts below.
void append_axes(std::string& svg, const ExpertLook& look, const Layout& layout) {
  append(svg, "<g font-size=\"11\" text-anchor=\"end\">");
  for (std::size_t i = 0; i < look.layers.size(); ++i) {
    append(svg, "<text x=\"-6\" y=\"{:.1f}\" dy=\".35em\">layer {}</text>\n", layout.row_middle(i),
           look.layers[i].layer);
  }
  append(svg, "</g><g font-size=\"10\" text-anchor=\"middle\">");
  std::int64_t distance = 1;
  while (distance * layout.cell < 32) distance *= 2;
  for (std::int64_t e = 0; e < layout.experts; e += distance) {
    append(svg, "<text x=\"{:.1f}\" y=\"{}\">{}</text>",
           static_cast<double>(layout.cell) * (static_cast<double>(e) + 0.5),
           layout.map_height() + 13, e);
  }
  append(svg, "\n<text x=\"{:.1f}\" y=\"{}\">expert</text></g>\n",
         static_cast<double>(layout.map_width()) / 2, layout.map_height() + 28);
}

void append_cells(std::string& svg, const ExpertLook& look, const Layout& layout) {
  const auto level = [&](std::int64_t expert, std::int64_t i) {
    return level_of(
        look.layers[static_cast<std::size_t>(i)].experts[static_cast<std::size_t>(expert)]);
  };
  const auto paths = svg::level_paths(
      kLevels + 1, layout.layers, [&](std::int64_t) { return layout.experts; }, level);
  append(svg,
         "<g class=\"map\" transform=\"scale({},{})\" stroke-width=\"{:.3f}\"><g "
         "transform=\"translate(0,.5)\">\n",
         layout.cell, layout.row, 1 - 1.0 / static_cast<double>(layout.row));
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (!paths[i].empty()) append(svg, "<path class=\"v{}\" d=\"{}\"/>\n", i, paths[i]);
  }
  append(svg, "</g></g>\n");
}

/// Loads as text, where cells have room for them.
void append_loads(std::string& svg, const ExpertLook& look, const Layout& layout) {
  constexpr std::int64_t kRoom = 32;
  if (layout.cell < kRoom) return;
  append(svg, "<g font-size=\"10\" text-anchor=\"middle\">");
  for (std::size_t i = 0; i < look.layers.size(); ++i) {
    for (std::size_t e = 0; e < look.layers[i].experts.size(); ++e) {
      const double load = look.layers[i].experts[e];
      const bool dark = load >= kDeadLoad && std::abs(place_of(load) - 0.5) > 0.27;
      append(svg, "<text x=\"{:.1f}\" y=\"{:.1f}\" dy=\".35em\"{}>{:.2f}</text>",
             static_cast<double>(layout.cell) * (static_cast<double>(e) + 0.5),
             layout.row_middle(i), dark ? " fill=\"#fff\"" : "", load);
    }
    append(svg, "\n");
  }
  append(svg, "</g>\n");
}

/// Columns at the right of the map.
void append_numbers(std::string& svg, const ExpertLook& look, const Layout& layout) {
  append(svg, "<g font-size=\"11\" text-anchor=\"end\" transform=\"translate({},0)\">\n",
         layout.map_width() + 56);
  constexpr double kColumn = 62;
  const auto cell = [&](int column, double y, const std::string& text, bool bad) {
    append(svg, "<text x=\"{:.1f}\" y=\"{:.1f}\" dy=\".35em\"{}>{}</text>", column * kColumn, y,
           bad ? " class=\"bad\"" : "", text);
  };
  for (int column = 0; const char* name : {"max", "entropy", "dead"})
    cell(column++, -9, name, false);
  for (std::size_t i = 0; i < look.layers.size(); ++i) {
    const RouterLoad& load = look.layers[i].load;
    const double y = layout.row_middle(i);
    cell(0, y, fmt::format("{:.2f}", load.max_load), false);
    cell(1, y, fmt::format("{:.3f}", load.load_entropy),
         load.load_entropy < RouterWatch::kLeastEntropy);
    cell(2, y, fmt::format("{}", load.dead_experts), load.dead_experts > 0);
    append(svg, "\n");
  }
  append(svg, "</g>\n");
}

/// Lines of all layers over the steps of all looks.
svg::Chart chart_of(const ExpertHistory& history, const Layout& layout, std::string title,
                    double RouterLoad::*number) {
  svg::Chart chart{.title = std::move(title),
                   .width = layout.chart_width(),
                   .height = Layout::kChart,
                   .steps = {},
                   .lines = {}};
  for (const ExpertLook& look : history.looks)
    chart.steps.push_back(static_cast<double>(look.step));
  const auto& layers = history.look().layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const double depth =
        layers.size() == 1 ? 0 : static_cast<double>(i) / static_cast<double>(layers.size() - 1);
    svg::Line& line =
        chart.lines.emplace_back(svg::Line{.name = fmt::format("layer {}", layers[i].layer),
                                           .color = svg::color(kLayerColors, depth),
                                           .values = {}});
    for (const ExpertLook& look : history.looks) line.values.push_back(look.layers[i].load.*number);
  }
  if (history.shown + 1 < history.looks.size())
    chart.marked = static_cast<double>(history.look().step);
  return chart;
}

void append_charts(std::string& svg, const ExpertHistory& history, const Layout& layout) {
  double least_entropy = 1, most_load = 1;
  for (const ExpertLook& look : history.looks) {
    for (const RoutedLayer& layer : look.layers) {
      least_entropy = std::min(least_entropy, layer.load.load_entropy);
      most_load = std::max(most_load, layer.load.max_load);
    }
  }
  svg::Chart entropy = chart_of(
      history, layout,
      fmt::format("load entropy (1: even; a warning below {:g})", RouterWatch::kLeastEntropy),
      &RouterLoad::load_entropy);
  entropy.axis = svg::round_axis(std::min(least_entropy, 0.95), 1);
  entropy.limit = RouterWatch::kLeastEntropy;
  entropy.named = svg::Extreme::least;
  svg::Chart load = chart_of(history, layout, "largest load (1: even)", &RouterLoad::max_load);
  load.axis = svg::octave_axis(most_load);
  double left = static_cast<double>(Layout::kGap) + svg::Chart::kLeft;
  for (const svg::Chart* chart : {&entropy, &load}) {
    append(svg, "<g transform=\"translate({:.1f},{:.1f})\">", left, layout.chart_top());
    svg::append_chart(svg, *chart);
    append(svg, "</g>\n");
    left += chart->width + svg::Chart::kLeft + svg::Chart::kRight;
  }
}

}  // namespace

std::string experts_svg(const ExpertHistory& history) {
  const ExpertLook& look = history.look();
  const Layout layout(look);
  std::string svg;
  svg::begin(svg, layout.width(), layout.height(),
             ".map{fill:none;shape-rendering:crispEdges}.bad{fill:#c00;font-weight:bold}"
             ".grid{stroke:#ddd;fill:none}.limit{stroke:#888;stroke-dasharray:4 3;fill:none}" +
                 svg::level_styles(svg::kBlueRed, kLevels) +
                 fmt::format(".v{}{{stroke:{}}}", kDead, kDeadColor));
  append_title(svg, look, layout);
  append_legend(svg);
  append(svg, "<g transform=\"translate({},{})\">\n", Layout::kGap + Layout::kLabel,
         Layout::kHeader);
  append_axes(svg, look, layout);
  append_cells(svg, look, layout);
  append_loads(svg, look, layout);
  append_numbers(svg, look, layout);
  append(svg, "</g>\n");
  append_charts(svg, history, layout);
  svg::end(svg);
  return svg;
}

}  // namespace hg
