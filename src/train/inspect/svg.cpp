#include "train/inspect/svg.h"

#include <cmath>

namespace hg::svg {

std::string color(Ramp ramp, double at) {
  const double place = std::clamp(at, 0.0, 1.0) * static_cast<double>(ramp.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(place), ramp.size() - 2);
  Color mixed;
  for (std::size_t c = 0; c < 3; ++c) {
    const double step = ramp[low + 1][c] - ramp[low][c];
    mixed[c] =
        static_cast<int>(std::lround(ramp[low][c] + (place - static_cast<double>(low)) * step));
  }
  return fmt::format("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2]);
}

void begin(std::string& svg, std::int64_t width, std::int64_t height, std::string_view styles) {
  append(svg,
         "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
         "viewBox=\"0 0 {0} {1}\" font-family=\"DejaVu Sans Mono,Menlo,Consolas,monospace\" "
         "font-size=\"12\" fill=\"#333\">\n<style>{2}</style>\n"
         "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
         width, height, styles);
}

void end(std::string& svg) { svg += "</svg>\n"; }

std::string level_styles(Ramp ramp, int levels) {
  std::string styles;
  for (int level = 0; level < levels; ++level) {
    const double at = static_cast<double>(level) / static_cast<double>(levels - 1);
    append(styles, ".v{}{{stroke:{}}}", level, color(ramp, at));
  }
  return styles;
}

void append_color_bar(std::string& svg, std::string_view name, Ramp ramp, std::int64_t width) {
  append(svg, "<linearGradient id=\"{}\">", name);
  for (std::size_t i = 0; i < ramp.size(); ++i) {
    const double at = static_cast<double>(i) / static_cast<double>(ramp.size() - 1);
    append(svg, "<stop offset=\"{:.4f}\" stop-color=\"{}\"/>", at, color(ramp, at));
  }
  append(svg, "</linearGradient><rect width=\"{}\" height=\"12\" fill=\"url(#{})\"/>\n", width,
         name);
}

}  // namespace hg::svg
