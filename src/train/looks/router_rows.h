// How layers of experts are loaded, as metrics; a part of train/looks/instrument_rows.h.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "model/router_load.h"
#include "train/metrics/tensorboard.h"

namespace hg {

/// A layer of experts, under its number in the model.
struct RoutedLayer {
  std::int64_t layer = 0;
  RouterLoad load = {};
  std::vector<double> experts = {};  ///< [E], loads over the ideal
};

/// What becomes one value of the values of all layers of experts.
enum class OverLayers { mean, least, most, sum };

/// Calls f(name, value, over, each) for every number of a RouterLoad: its name in rows and files,
/// how layers are put together, and whether each of them has a value of its own in summaries.
void for_each_number(auto& load, auto&& f) {
  f("max_load", load.max_load, OverLayers::most, true);
  f("min_load", load.min_load, OverLayers::least, false);
  f("max_violation", load.max_violation, OverLayers::most, false);
  f("load_cv", load.load_cv, OverLayers::mean, false);
  f("load_entropy", load.load_entropy, OverLayers::mean, true);
  f("dead_experts", load.dead_experts, OverLayers::sum, true);
  f("dropped", load.dropped, OverLayers::mean, false);
  f("top_probability", load.top_probability, OverLayers::mean, false);
  f("max_logit", load.largest_logit, OverLayers::most, false);
  f("balance_loss", load.balance_loss, OverLayers::mean, false);
  f("z_loss", load.z_loss, OverLayers::mean, false);
}

/// The layers of experts that instruments saw; none in a dense model.
std::vector<RoutedLayer> routed_layers(const Instruments& instruments);

/// Values "moe/NAME", and "moe/NAME/layers.N" where each layer has its own.
std::vector<NamedValue> router_summary(const std::vector<RoutedLayer>& layers);

/// All numbers of one layer, and "load", the array of its experts.
nlohmann::ordered_json router_details(const RoutedLayer& layer);

}  // namespace hg
