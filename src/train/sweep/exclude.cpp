#include "train/sweep/exclude.h"

#include <algorithm>

namespace hg {
namespace {

std::string names_of(std::span<const SweepAxis> axes) {
  std::string names;
  for (const SweepAxis& axis : axes) names += (names.empty() ? "" : ", ") + axis.name;
  return names;
}

}  // namespace

std::size_t find_axis(std::span<const SweepAxis> axes, std::string_view name) {
  const auto exact = std::ranges::find(axes, name, &SweepAxis::name);
  if (exact != axes.end()) return static_cast<std::size_t>(exact - axes.begin());
  const auto last = std::ranges::find_if(
      axes, [&](const SweepAxis& axis) { return config::name_of(axis.name) == name; });
  return static_cast<std::size_t>(last - axes.begin());
}

Exclusions::Exclusions(std::span<const ConfigNode> entries, std::span<const SweepAxis> axes,
                       ConfigProblems& problems) {
  for (const ConfigNode& node : entries) {
    if (node.kind != ConfigNode::Kind::section || node.children.empty()) {
      problems.add_at(node.place, "exclude",
                      fmt::format("found {}, expected axes with values", node.found()));
      continue;
    }
    Entry entry{.place = node.place, .conditions = {}};
    for (const ConfigNode& condition : node.children) {
      const std::size_t axis = find_axis(axes, condition.key);
      if (axis == axes.size()) {
        problems.add_at(condition.place, "exclude." + condition.key,
                        fmt::format("is no axis, expected one of {}", names_of(axes)));
        continue;
      }
      entry.conditions.push_back(read(condition, axis, axes[axis], problems));
    }
    entries_.push_back(std::move(entry));
  }
}

Exclusions::Condition Exclusions::read(const ConfigNode& node, std::size_t axis,
                                       const SweepAxis& of, ConfigProblems& problems) const {
  Condition condition{.axis = axis, .values = {}, .comparison = {}, .limit = 0};
  const auto refuse = [&](const std::string& words) {
    problems.add_at(node.place, "exclude." + node.key, words);
  };
  if (node.text.starts_with('<') || node.text.starts_with('>')) {
    const std::size_t length = node.text.substr(1).starts_with('=') ? 2 : 1;
    const std::size_t number = node.text.find_first_not_of(' ', length);
    condition.comparison = node.text.substr(0, length);
    const auto limit = config::parse_number<double>(
        number == std::string::npos ? std::string_view()
                                    : std::string_view(node.text).substr(number));
    if (!limit)
      refuse(
          fmt::format("found {}, expected a number behind {}", node.found(), condition.comparison));
    condition.limit = limit.value_or(0);
    return condition;
  }
  if (node.kind == ConfigNode::Kind::list) {
    for (const ConfigNode& child : node.children) condition.values.push_back(json_of(child));
  } else {
    condition.values.push_back(json_of(node));
  }
  for (const auto& value : condition.values) {
    if (std::ranges::find(of.values, value, &AxisValue::value) == of.values.end())
      refuse(fmt::format("{} is no value of the axis '{}'", value.dump(), of.name));
  }
  return condition;
}

bool Exclusions::holds(const Condition& condition, const nlohmann::ordered_json& value) {
  if (condition.comparison.empty())
    return std::ranges::find(condition.values, value) != condition.values.end();
  if (!value.is_number()) return false;
  const auto number = value.get<double>();
  if (condition.comparison == "<") return number < condition.limit;
  if (condition.comparison == "<=") return number <= condition.limit;
  return condition.comparison == ">" ? number > condition.limit : number >= condition.limit;
}

bool Exclusions::match(std::span<const AxisValue* const> point) {
  bool matches = false;
  for (Entry& entry : entries_) {
    if (!std::ranges::all_of(entry.conditions, [&](const Condition& condition) {
          return holds(condition, point[condition.axis]->value);
        })) {
      continue;
    }
    entry.used = matches = true;
  }
  return matches;
}

void Exclusions::check_used(ConfigProblems& problems) const {
  for (const Entry& entry : entries_) {
    if (!entry.used) problems.add_at(entry.place, "exclude", "this entry leaves out no point");
  }
}

}  // namespace hg
