// Pieces that pictures in SVG are made of: colours, matrices of coloured cells, and the frame.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hg::svg {

template <class... Args>
void append(std::string& svg, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(svg), format, std::forward<Args>(args)...);
}

/// Red, green and blue, 0 to 255.
using Color = std::array<int, 3>;
/// Colours at equal distances over [0, 1].
using Ramp = std::span<const Color>;

/// viridis (van der Walt and Smith, 2015, CC0) at 0, 1/9, ... 1; between them it is almost linear.
inline constexpr Color kViridis[] = {{68, 1, 84},    {72, 40, 120},  {62, 74, 137},  {49, 104, 142},
                                     {38, 130, 142}, {31, 158, 137}, {53, 183, 121}, {109, 205, 89},
                                     {180, 222, 44}, {253, 231, 37}};
/// RdBu of ColorBrewer (Brewer, 2002, Apache 2.0) from blue to red: what diverges from its middle.
inline constexpr Color kBlueRed[] = {{5, 48, 97},     {33, 102, 172},  {67, 147, 195},
                                     {146, 197, 222}, {209, 229, 240}, {247, 247, 247},
                                     {253, 219, 199}, {244, 165, 130}, {214, 96, 77},
                                     {178, 24, 43},   {103, 0, 31}};

/// The colour at `at` of [0, 1], linear between those of the ramp: "#1f9e89".
std::string color(Ramp ramp, double at);

/// The first lines of a picture of that size in pixels, on white; `styles` are CSS.
void begin(std::string& svg, std::int64_t width, std::int64_t height, std::string_view styles);
/// The last line.
void end(std::string& svg);

/// CSS classes v0, v1, ... v(levels - 1) of strokes in the colours of a ramp.
std::string level_styles(Ramp ramp, int levels);

/// A bar of that width in the colours of a ramp, at the origin; `name` is for references inside the
/// file.
void append_color_bar(std::string& svg, std::string_view name, Ramp ramp, std::int64_t width);

/// A path of horizontal strokes for each level: the runs of cells that have it, where row y has
/// columns(y) cells and the cell there the level level(x, y). A cell is 1 wide, its row's y whole.
std::vector<std::string> level_paths(int levels, std::int64_t rows, auto&& columns, auto&& level) {
  std::vector<std::string> paths(static_cast<std::size_t>(levels));
  for (std::int64_t y = 0; y < rows; ++y) {
    for (std::int64_t begin = 0, end = 0; begin < columns(y); begin = end) {
      const int here = level(begin, y);
      for (end = begin + 1; end < columns(y) && level(end, y) == here;) ++end;
      append(paths[static_cast<std::size_t>(here)], "M{} {}h{}", begin, y, end - begin);
    }
  }
  return paths;
}

}  // namespace hg::svg
