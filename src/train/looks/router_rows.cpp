#include "train/looks/router_rows.h"

#include <algorithm>
#include <numeric>

namespace hg {
namespace {

/// One number of all layers.
struct Column {
  std::string name;
  OverLayers over;
  bool each;
  std::vector<double> values = {};
};

std::vector<Column> columns_of(const std::vector<RoutedLayer>& layers) {
  std::vector<Column> columns;
  for (const RoutedLayer& layer : layers) {
    auto at = columns.begin();
    for_each_number(layer.load, [&](const char* name, auto value, OverLayers over, bool each) {
      if (at == columns.end()) at = columns.insert(at, {.name = name, .over = over, .each = each});
      (at++)->values.push_back(static_cast<double>(value));
    });
  }
  return columns;
}

double put_together(const Column& column) {
  const auto& values = column.values;
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  switch (column.over) {
    case OverLayers::least:
      return std::ranges::min(values);
    case OverLayers::most:
      return std::ranges::max(values);
    case OverLayers::sum:
      return sum;
    case OverLayers::mean:
      break;
  }
  return sum / static_cast<double>(values.size());
}

}  // namespace

std::vector<RoutedLayer> routed_layers(const Instruments& instruments) {
  std::vector<RoutedLayer> result;
  std::int64_t number = 0;
  for (const Instruments::Layer& layer : instruments.layers()) {
    if (const RouterRecord& router = layer.router) {
      RouterTotals totals(router.loads.dim(0));
      totals.add(router.view(), router.top_k);
      result.push_back(
          {.layer = number, .load = router_load(totals), .experts = relative_loads(totals)});
    }
    ++number;
  }
  return result;
}

std::vector<NamedValue> router_summary(const std::vector<RoutedLayer>& layers) {
  std::vector<NamedValue> values;
  for (const Column& column : columns_of(layers)) {
    const std::string name = "moe/" + column.name;
    values.push_back({name, put_together(column)});
    if (!column.each) continue;
    for (std::size_t i = 0; i < layers.size(); ++i)
      values.push_back({fmt::format("{}/layers.{}", name, layers[i].layer), column.values[i]});
  }
  return values;
}

nlohmann::ordered_json router_details(const RoutedLayer& layer) {
  nlohmann::ordered_json result;
  for_each_number(layer.load, [&](const char* name, auto value, auto...) { result[name] = value; });
  result["load"] = layer.experts;
  return result;
}

}  // namespace hg
