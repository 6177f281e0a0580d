// Configs: structs that list their fields once, read strictly from YAML. From that one list follow
// reading, --set overrides, the resolved config, its documentation and its comparison.
//
//   struct OptimizerConfig {
//     double lr = 3e-4;
//     std::optional<double> min_lr;
//     void fields(auto&& f) {
//       f("lr", lr, "peak learning rate", hg::positive);
//       f("min_lr", min_lr, "where the decay ends", hg::at_least(0));
//     }
//     void validate(hg::ConfigProblems& problems) const {
//       if (min_lr && *min_lr > lr) problems.add("min_lr", "is {}, but lr is {}", *min_lr, lr);
//     }
//   };
//
// A member that has fields() itself is a section. Other members are bool, integers, float, double
// (finite), std::string, std::filesystem::path, enums with EnumNames, std::optional of these (null
// in YAML), std::vector of these or of sections, and ConfigNode, which takes whatever stands there.
// Constraints: hg::required, not_empty, positive, above(x), at_least(x), below(x), at_most(x),
// multiple_of(n); see core/config_value.h.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/config_keys.h"

namespace hg {

/// For every key that is not a section, by path: "default", "configs/tiny.yaml:12" or "--set".
using ConfigOrigins = std::map<std::string, std::string>;

/// A config and where its values came from.
template <ConfigSection T>
struct Loaded {
  T value;
  ConfigOrigins origins;
};

/// A key whose values differ between two configs, as YAML.
struct ConfigDifference {
  std::string path, a, b;
};

namespace config {
ConfigOrigins load_file(const Keys& keys, const std::string& path,
                        std::span<const std::string> overrides);
ConfigOrigins load_text(const Keys& keys, const std::string& yaml, const std::string& source,
                        std::span<const std::string> overrides);
std::string to_yaml(const Keys& keys, const ConfigOrigins* origins);
std::vector<ConfigDifference> differences(const Keys& a, const Keys& b);
}  // namespace config

/// Reads a YAML file, then overrides such as "optimizer.lr=1e-3". A file may name another at its
/// top, `extends: other.yaml`, relative to itself: that one is read first, sections merge, lists
/// replace.
///
/// Throws one Error with a line for every problem: unknown, repeated, missing and ill-typed keys,
/// broken constraints, and what the structs' validate() finds:
///   configs/tiny.yaml:12:3: optimizer.lr: found 'fast', expected a number > 0
///   --set optimizer.lrr=1: unknown key; did you mean 'optimizer.lr'?
template <ConfigSection T>
Loaded<T> load_config(const std::string& path, const std::vector<std::string>& overrides = {}) {
  Loaded<T> loaded{};
  loaded.origins = config::load_file(config::keys_of(loaded.value), path, overrides);
  return loaded;
}

/// The same for a text, such as the config inside a checkpoint; messages call it `source`.
template <ConfigSection T>
Loaded<T> parse_config(const std::string& yaml, const std::string& source,
                       const std::vector<std::string>& overrides = {}) {
  Loaded<T> loaded{};
  loaded.origins = config::load_text(config::keys_of(loaded.value), yaml, source, overrides);
  return loaded;
}

/// All keys with their values, in the order of fields(). Loads back to the same values, bit for
/// bit.
template <ConfigSection T>
std::string to_yaml(const T& value) {
  return config::to_yaml(config::keys_of(value), nullptr);
}

/// The same with each key's origin behind it as a comment.
template <ConfigSection T>
std::string to_yaml(const T& value, const ConfigOrigins& origins) {
  return config::to_yaml(config::keys_of(value), &origins);
}

/// One row for every section and key, in the order of fields().
template <ConfigSection T>
std::vector<ConfigHelp> describe() {
  return config::describe(config::keys_of(T()));
}

/// The keys in which two configs differ.
template <ConfigSection T>
std::vector<ConfigDifference> differences(const T& a, const T& b) {
  return config::differences(config::keys_of(a), config::keys_of(b));
}

}  // namespace hg
