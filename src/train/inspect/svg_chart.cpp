#include "train/inspect/svg_chart.h"

#include <cmath>

namespace hg::svg {
namespace {

/// Pixels of a value: x of a step, or y below the top of the plot.
struct Scale {
  const Chart& chart;

  double x(double step) const {
    const double first = chart.steps.front(), last = chart.steps.back();
    return last > first ? (step - first) / (last - first) * chart.width : chart.width / 2;
  }
  double y(double value) const {
    const Axis& axis = chart.axis;
    const auto place = [&](double v) { return axis.logarithmic ? std::log2(v) : v; };
    const double at = (place(std::clamp(value, axis.low, axis.high)) - place(axis.low)) /
                      (place(axis.high) - place(axis.low));
    return chart.height * (1 - at);
  }
};

/// 1, 2 or 5 times a power of ten: the least of them that is not below `least`.
double round_up(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

void append_axes(std::string& svg, const Chart& chart, const Scale& scale) {
  append(svg, "<text x=\"{:.1f}\" y=\"-9\">{}</text>\n", -Chart::kLeft + 4, chart.title);
  append(svg, "<g font-size=\"10\"><g text-anchor=\"end\">");
  for (const double tick : chart.axis.ticks)
    append(svg, "<text x=\"-6\" y=\"{:.1f}\" dy=\".35em\">{:g}</text>", scale.y(tick), tick);
  append(svg, "</g>\n<path class=\"grid\" d=\"");
  for (const double tick : chart.axis.ticks)
    append(svg, "M0 {:.1f}h{:.1f}", scale.y(tick), chart.width);
  append(svg, "\"/>\n<g text-anchor=\"middle\">");
  const double last = chart.steps.back();
  const double distance = round_up(std::max(1.0, (last - chart.steps.front()) / 5));
  for (double step = std::ceil(chart.steps.front() / distance) * distance; step <= last;
       step += distance) {
    append(svg, "<text x=\"{:.1f}\" y=\"{:.1f}\">{:.0f}</text>", scale.x(step), chart.height + 15,
           step);
  }
  append(svg, "<text x=\"{:.1f}\" y=\"{:.1f}\">step</text></g></g>\n", chart.width / 2,
         chart.height + 29);
}

void append_names(std::string& svg, const Chart& chart, const Scale& scale) {
  constexpr double kRoom = 11;
  std::vector<const Line*> lines;
  for (const Line& line : chart.lines) lines.push_back(&line);
  std::ranges::stable_sort(lines, [&](const Line* a, const Line* b) {
    const double x = a->values.back(), y = b->values.back();
    return chart.named == Extreme::least ? x < y : y < x;
  });
  std::vector<double> taken;
  append(svg, "<g font-size=\"10\">");
  for (const Line* line : lines) {
    const double y = scale.y(line->values.back());
    if (std::ranges::any_of(taken, [&](double t) { return std::abs(t - y) < kRoom; })) continue;
    taken.push_back(y);
    append(svg, "<text x=\"{:.1f}\" y=\"{:.1f}\" dy=\".35em\" fill=\"{}\">{}</text>",
           chart.width + 7, y, line->color, line->name);
  }
  append(svg, "</g>\n");
}

}  // namespace

Axis round_axis(double low, double high) {
  if (!(high > low)) high = low + 1;
  const double distance = round_up((high - low) / 5);
  Axis axis{.low = std::floor(low / distance + 1e-9) * distance,
            .high = std::ceil(high / distance - 1e-9) * distance};
  const auto count = static_cast<int>(std::lround((axis.high - axis.low) / distance));
  for (int i = 0; i <= count; ++i) axis.ticks.push_back(axis.low + i * distance);
  return axis;
}

Axis octave_axis(double high) {
  Axis axis{.low = 1, .high = 2, .logarithmic = true, .ticks = {1, 2}};
  while (axis.high < high) {
    axis.high *= 2;
    axis.ticks.push_back(axis.high);
  }
  return axis;
}

void append_chart(std::string& svg, const Chart& chart) {
  const Scale scale{chart};
  append_axes(svg, chart, scale);
  if (chart.limit && chart.axis.low <= *chart.limit && *chart.limit <= chart.axis.high) {
    append(svg, "<path class=\"limit\" d=\"M0 {:.1f}h{:.1f}\"/>\n", scale.y(*chart.limit),
           chart.width);
  }
  if (chart.marked)
    append(svg, "<path class=\"limit\" d=\"M{:.1f} 0v{:.1f}\"/>\n", scale.x(*chart.marked),
           chart.height);
  append(svg, "<g fill=\"none\" stroke-width=\"1.3\" stroke-linejoin=\"round\">\n");
  for (const Line& line : chart.lines) {
    if (chart.steps.size() == 1) {
      append(svg, "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" stroke=\"{}\"/>\n",
             scale.x(chart.steps[0]), scale.y(line.values[0]), line.color);
      continue;
    }
    append(svg, "<path stroke=\"{}\" d=\"", line.color);
    for (std::size_t i = 0; i < chart.steps.size(); ++i)
      append(svg, "{}{:.1f} {:.1f}", i == 0 ? 'M' : 'L', scale.x(chart.steps[i]),
             scale.y(line.values[i]));
    append(svg, "\"/>\n");
  }
  append(svg, "</g>\n");
  append_names(svg, chart, scale);
}

}  // namespace hg::svg
