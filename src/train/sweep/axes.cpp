#include "train/sweep/axes.h"

#include <cctype>
#include <cmath>
#include <map>
#include <set>

#include "train/config.h"

namespace hg {
namespace {

using Json = nlohmann::ordered_json;

void flatten_into(const ConfigNode& section, const std::string& prefix,
                  std::vector<Override>& result) {
  for (const ConfigNode& child : section.children) {
    const std::string key = ConfigProblems::join(prefix, child.key);
    if (child.kind == ConfigNode::Kind::section) {
      flatten_into(child, key, result);
    } else {
      result.push_back({key, child});
    }
  }
}

ConfigNode number_node(double value, const ConfigPlace& place) {
  ConfigNode node;
  node.kind = ConfigNode::Kind::scalar;
  node.place = place;
  node.text = fmt::format("{}", value);
  return node;
}

/// Whether a run's config has this key.
bool is_key(const std::string& name) {
  const RunConfig scratch;
  const config::Keys keys = config::keys_of(scratch);
  return std::ranges::find(keys, name, &config::Key::path) != keys.end();
}

/// The axis's values without their keys' being checked.
SweepAxis make_axis(const AxisConfig& config, ConfigProblems& problems) {
  SweepAxis axis{.name = config.key.text, .kind = SweepAxis::Kind::key, .values = {}};
  const auto add = [&](const ConfigNode& node) {
    const Json value = json_of(node);
    axis.values.push_back(
        {.label = label_of(value), .value = value, .overrides = {{config.key.text, node}}});
  };
  for (const ConfigNode& value : config.values) add(value);
  if (config.log_range.count > 0) {
    const auto& [from, to, count] = config.log_range;
    for (const double value : log_range(from, to, count)) add(number_node(value, config.key.place));
  }
  if (!config.times_best.empty()) axis.name += "/best";
  for (const double factor : config.times_best) {
    axis.kind = SweepAxis::Kind::times_best;
    axis.values.push_back({.label = fmt::format("x{}", factor),
                           .value = factor,
                           .overrides = {},
                           .times_best = factor});
  }
  if (config.variants.kind == ConfigNode::Kind::null) return axis;
  axis.name = config.name;
  axis.kind = SweepAxis::Kind::variants;
  if (config.variants.kind != ConfigNode::Kind::section || config.variants.children.empty()) {
    problems.add_at(config.variants.place, "axes.variants",
                    fmt::format("found {}, expected bundles of keys by name",
                                config.variants.children.empty() ? "none" : "a list"));
  }
  for (const ConfigNode& bundle : config.variants.children) {
    if (bundle.kind != ConfigNode::Kind::section) {
      problems.add_at(bundle.place, bundle.key,
                      fmt::format("found {}, expected keys and values, or {{}}", bundle.found()));
    }
    axis.values.push_back(
        {.label = label_of(bundle.key), .value = bundle.key, .overrides = flatten(bundle)});
  }
  return axis;
}

}  // namespace

std::vector<Override> flatten(const ConfigNode& section) {
  std::vector<Override> result;
  flatten_into(section, "", result);
  return result;
}

void check_override(const Override& override, ConfigProblems& problems) {
  const auto& [key, value] = override;
  for (const char* own : {"name", "checkpoint.resume"}) {
    if (key == own) problems.add_at(value.place, key, "is set by the sweep itself");
  }
  // Wrapped from the inside out, as a file would have it: a.b is {a: {b: 1}}.
  ConfigNode node = value;
  for (std::string path = key;;) {
    const std::size_t dot = path.rfind('.');
    node.key = dot == std::string::npos ? path : path.substr(dot + 1);
    ConfigNode section;
    section.kind = ConfigNode::Kind::section;
    section.place = value.place;
    section.children.push_back(std::move(node));
    node = std::move(section);
    if (dot == std::string::npos) break;
    path.resize(dot);
  }
  RunConfig scratch;
  config::read_section(config::keys_of(scratch), "", node, problems);
}

Json json_of(const ConfigNode& node) {
  switch (node.kind) {
    case ConfigNode::Kind::null:
      return nullptr;
    case ConfigNode::Kind::section:
      return node.flow_text();
    case ConfigNode::Kind::list: {
      Json list = Json::array();
      for (const ConfigNode& child : node.children) list.push_back(json_of(child));
      return list;
    }
    case ConfigNode::Kind::scalar:
      break;
  }
  if (node.quoted) return node.text;
  if (node.text == "true" || node.text == "false") return node.text == "true";
  if (const auto integer = config::parse_integer<std::int64_t>(node.text)) return *integer;
  if (const auto number = config::parse_number<double>(node.text)) return *number;
  return node.text;
}

std::string label_of(const Json& value) {
  std::string label = value.is_string()         ? value.get<std::string>()
                      : value.is_number_float() ? fmt::format("{}", value.get<double>())
                                                : value.dump();
  for (char& c : label) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (!plain && c != '.' && c != '-' && c != '+') c = '_';
  }
  return label;
}

std::vector<double> log_range(double from, double to, std::int64_t count) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(count - 1);
    const double exact = std::exp(std::lerp(std::log(from), std::log(to), share));
    values.push_back(std::stod(fmt::format("{:.2e}", exact)));
  }
  return values;
}

bool SweepAxis::within_variant() const {
  return name == "optimizer.lr" || name == "training.seed" || kind == Kind::times_best;
}

std::vector<SweepAxis> make_axes(std::span<const AxisConfig> configs, ConfigProblems& problems) {
  std::vector<SweepAxis> axes;
  std::set<std::string> names;
  std::map<std::string, std::string> owners;  // of keys: which axis sets them
  for (const AxisConfig& config : configs) {
    axes.push_back(make_axis(config, problems));
    const SweepAxis& axis = axes.back();
    if (!names.insert(axis.name).second) {
      problems.add_at(config.key.text.empty() ? config.variants.place : config.key.place, "axes",
                      fmt::format("'{}' is an axis twice", axis.name));
      continue;
    }
    const auto own = [&](const std::string& key, const ConfigPlace& place) {
      const std::string& owner = owners.try_emplace(key, axis.name).first->second;
      if (owner == axis.name) return;
      problems.add_at(place, key,
                      fmt::format("is set by two axes, '{}' and '{}'", owner, axis.name));
    };
    if (axis.kind != SweepAxis::Kind::variants) own(config.key.text, config.key.place);
    if (axis.kind == SweepAxis::Kind::key && !is_key(axis.name)) {  // said once, not for each value
      check_override({axis.name, config.key}, problems);
      continue;
    }
    for (const AxisValue& value : axis.values) {
      for (const Override& override : value.overrides) {
        check_override(override, problems);
        if (axis.kind == SweepAxis::Kind::variants) own(override.key, override.value.place);
      }
    }
  }
  return axes;
}

}  // namespace hg
