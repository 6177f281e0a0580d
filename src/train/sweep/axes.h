// The axes of a sweep: what each value is called, and which keys it sets.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "train/sweep/sweep_config.h"

namespace hg {

/// A key of the runs' config and what it is set to, with its place in the sweep file.
struct Override {
  std::string key;
  ConfigNode value;

  /// As --set takes it: "optimizer.lr=3e-3".
  std::string text() const { return key + "=" + value.flow_text(); }
};

/// The keys of a section, those of sections in it with dots: {a: {b: 1}} and {a.b: 1} are alike.
std::vector<Override> flatten(const ConfigNode& section);

/// Adds a problem at the override's place if a run has no such key, or one of another type, or if
/// the sweep sets it by itself.
void check_override(const Override& override, ConfigProblems& problems);

/// A scalar or list as JSON.
nlohmann::ordered_json json_of(const ConfigNode& node);

/// What a value is called in names of runs: letters, digits, '.', '_' and '-' alone.
std::string label_of(const nlohmann::ordered_json& value);

/// `count` values from `from` to `to` at equal ratios, rounded to three significant digits.
std::vector<double> log_range(double from, double to, std::int64_t count);

/// One value of an axis.
struct AxisValue {
  std::string label;             ///< in names
  nlohmann::ordered_json value;  ///< in sweep.json: the key's value, the factor, the bundle's name
  std::vector<Override> overrides;
  double times_best = 0;  ///< factor of the best learning rate, which is then set; 0: none
};

struct SweepAxis {
  enum class Kind { key, variants, times_best };

  std::string name;  ///< "optimizer.lr", "variant", "optimizer.lr/best"
  Kind kind = Kind::key;
  std::vector<AxisValue> values;

  /// Whether points that differ only here are the same variant: another learning rate or seed.
  bool within_variant() const;
};

/// All axes, with their keys checked. Refuses an axis given twice and a key that two axes set.
std::vector<SweepAxis> make_axes(std::span<const AxisConfig> configs, ConfigProblems& problems);

}  // namespace hg
