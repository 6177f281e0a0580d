// The data of a page's charts and maps.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "train/report/page.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;

/// Six digits are more than a screen shows; null for what is not finite.
Json rounded(double value) {
  if (!std::isfinite(value)) return nullptr;
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<std::int64_t>(value);
  char digits[32];
  std::snprintf(digits, sizeof(digits), "%.6g", value);
  return std::strtod(digits, nullptr);
}

Json rounded(const std::vector<double>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(rounded(value));
  return list;
}

const char* name_of(ChartLine::Style style) {
  switch (style) {
    case ChartLine::Style::line:
      return "line";
    case ChartLine::Style::faint:
      return "faint";
    case ChartLine::Style::dashed:
      return "dashed";
    case ChartLine::Style::points:
      return "points";
    case ChartLine::Style::crosses:
      return "crosses";
  }
  return "";
}

const char* name_of(HeatMap::Scale scale) {
  switch (scale) {
    case HeatMap::Scale::share:
      return "share";
    case HeatMap::Scale::unit:
      return "unit";
    case HeatMap::Scale::load:
      return "load";
  }
  return "";
}

Json json_of(const PageChart& chart) {
  Json json = {{"title", chart.title}, {"xLabel", chart.x_label}, {"yLabel", chart.y_label},
               {"logX", chart.log_x},  {"logY", chart.log_y},     {"byFamily", chart.by_family}};
  if (chart.y_min) json["yMin"] = rounded(*chart.y_min);
  if (chart.y_max) json["yMax"] = rounded(*chart.y_max);
  json["lines"] = Json::array();
  for (const ChartLine& line : chart.lines) {
    json["lines"].push_back({{"name", line.name},
                             {"group", line.group},
                             {"style", name_of(line.style)},
                             {"x", rounded(line.points.steps)},
                             {"y", rounded(line.points.values)}});
  }
  return json;
}

Json json_of(const HeatMap& map, double most) {
  return {{"title", map.title},    {"xLabel", map.x_label},     {"yLabel", map.y_label},
          {"rows", map.rows},      {"columns", map.columns},    {"scale", name_of(map.scale)},
          {"most", rounded(most)}, {"rowNames", map.row_names}, {"values", rounded(map.values)}};
}

}  // namespace

std::string chart_data(const Report& report) {
  Json data = {{"families", report.grouping.families}, {"groups", Json::array()}};
  for (const RunGroup& group : report.grouping.groups)
    data["groups"].push_back(
        {{"name", group.name}, {"family", group.family}, {"shade", rounded(group.shade)}});
  Json &charts = data["charts"] = Json::object(), &maps = data["maps"] = Json::object();
  for (const ReportSection& section : report.sections) {
    for (std::size_t i = 0; i < section.charts.size(); ++i)
      charts[fmt::format("{}-chart-{}", section.id, i)] = json_of(section.charts[i]);
    double most = 0;
    for (const HeatMap& map : section.maps) {
      for (const double value : map.values)
        most = std::isfinite(value) ? std::max(most, value) : most;
    }
    for (std::size_t i = 0; i < section.maps.size(); ++i)
      maps[fmt::format("{}-map-{}", section.id, i)] = json_of(section.maps[i], most);
  }
  const std::string json =
      data.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  // A text of a run may hold "</script>" or "<!--", which would end or hide what follows.
  std::string safe;
  safe.reserve(json.size());
  for (const char c : json) {
    if (c == '<') {
      safe += "\\u003c";
    } else {
      safe += c;
    }
  }
  return safe;
}

}  // namespace hg
