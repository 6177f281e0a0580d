// Lines over the steps of a run, as a part of a picture in SVG.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/inspect/svg.h"

namespace hg::svg {

struct Line {
  std::string name, color;
  std::vector<double> values;  ///< one for each step
};

struct Axis {
  double low = 0, high = 1;
  bool logarithmic = false;
  std::vector<double> ticks = {};
};

/// A linear axis that holds [low, high], with three to seven round ticks.
Axis round_axis(double low, double high);
/// A logarithmic axis from 1 to a power of two not below `high`, ticks at powers of two.
Axis octave_axis(double high);

enum class Extreme { least, most };

struct Chart {
  std::string title;
  double width = 0, height = 0;  ///< pixels, of the plot; labels stand outside
  std::vector<double> steps;     ///< ascending
  std::vector<Line> lines;
  Axis axis = {};                     ///< vertical
  std::optional<double> limit = {};   ///< a dashed line at this value
  std::optional<double> marked = {};  ///< and one at this step
  Extreme named = Extreme::most;      ///< whose names matter most at the lines' ends

  static constexpr double kAbove = 22, kBelow = 36, kLeft = 44, kRight = 76;
};

/// A chart whose plot has its upper left corner at the origin. Names stand at the ends of lines,
/// those of the named extreme first, as far as there is room. Of a single step there are points.
void append_chart(std::string& svg, const Chart& chart);

}  // namespace hg::svg
