// The constraints of a sweep: which combinations of axes' values are left out.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "train/sweep/axes.h"

namespace hg {

/// `exclude` of a sweep file. An entry leaves out the points that have, on every axis it names, the
/// value, one of a list of values, or a number that compares so: {variant: headwise, lr: ">= 0.1"}.
class Exclusions {
 public:
  /// Adds problems for entries that name no axis, or a value that their axis has not.
  Exclusions(std::span<const ConfigNode> entries, std::span<const SweepAxis> axes,
             ConfigProblems& problems);

  /// Whether a point, which has this value on each axis, is left out.
  bool match(std::span<const AxisValue* const> point);
  /// Adds a problem for each entry that left out no point.
  void check_used(ConfigProblems& problems) const;

 private:
  struct Condition {
    std::size_t axis;
    std::vector<nlohmann::ordered_json> values;  // one of them; or
    std::string comparison;                      // "<", "<=", ">" or ">=" and
    double limit;
  };
  struct Entry {
    ConfigPlace place;
    std::vector<Condition> conditions;
    bool used = false;
  };

  static bool holds(const Condition& condition, const nlohmann::ordered_json& value);
  Condition read(const ConfigNode& node, std::size_t axis, const SweepAxis& of,
                 ConfigProblems& problems) const;

  std::vector<Entry> entries_;
};

/// The axis of this name, or of a key that ends so: "lr" is "optimizer.lr". Its number, or the
/// number of axes if there is none.
std::size_t find_axis(std::span<const SweepAxis> axes, std::string_view name);

}  // namespace hg
