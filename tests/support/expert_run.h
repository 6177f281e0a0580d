// A run folder with an instruments.jsonl of hand-made loads of experts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "support/temp_folder.h"
#include "train/looks/router_rows.h"

namespace hg::test {

/// A layer whose experts are chosen that often, by two choices of a token.
inline RoutedLayer routed_layer(std::int64_t number, const std::vector<std::int64_t>& choices) {
  RouterTotals totals(std::ssize(choices));
  totals.choices = choices;
  for (const std::int64_t count : choices) totals.tokens += count;
  totals.tokens /= 2;
  totals.top_probability = 0.4 * static_cast<double>(totals.tokens);
  totals.largest_logit = 3.25;
  return {.layer = number, .load = router_load(totals), .experts = relative_loads(totals)};
}

/// The line of a look; layers that are not among these are dense.
inline std::string expert_line(std::int64_t step, const std::vector<RoutedLayer>& layers) {
  nlohmann::ordered_json line = {{"step", step}, {"layers", nlohmann::ordered_json::array()}};
  for (const RoutedLayer& layer : layers) {
    while (std::ssize(line["layers"]) < layer.layer)
      line["layers"].push_back({{"attention", nullptr}});
    line["layers"].push_back({{"experts", router_details(layer)}});
  }
  return line.dump() + "\n";
}

/// FOLDER/run with these lines; returns it.
inline std::filesystem::path write_expert_run(const TempFolder& folder, const std::string& lines) {
  std::filesystem::create_directories(folder / "run");
  write_file(folder / "run" / "instruments.jsonl", lines);
  return folder / "run";
}

/// Looks at steps 100, 200 and 300: layer 1 is even throughout, layer 2 collapses on expert 3.
inline std::string three_looks() {
  return expert_line(100, {routed_layer(1, {50, 50, 50, 50}), routed_layer(2, {50, 50, 50, 50})}) +
         expert_line(200, {routed_layer(1, {50, 50, 50, 50}), routed_layer(2, {40, 40, 20, 100})}) +
         expert_line(300, {routed_layer(1, {50, 49, 51, 50}), routed_layer(2, {10, 0, 1, 189})});
}

}  // namespace hg::test
